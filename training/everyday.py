"""26 everyday posts, 13 a side, written for this check: a polarity model that collapsed fails half of
them.
"""

from collections.abc import Callable
from typing import Any

from training.labels import TASKS
from training.rows import Array

POSITIVE = (
    "排了两个小时的队终于买到票了，值！",
    "妈妈寄来的腊肠太香了，一口气吃了三碗饭",
    "新来的同事人真好，第一天就带我熟悉环境",
    "今天的晚霞美得不像话，拍了好多照片",
    "考试过了！！！晚上请大家喝奶茶",
    "偶像今天在台上哭了又笑了，我们会一直陪着你",
    "搬进新家的第一晚，睡得特别踏实",
    "小猫终于肯让我抱了，幸福死了",
    "这家小店的豆花又便宜又好吃，下次还来",
    "跑完人生第一个半马，腿软但是超级骄傲",
    "收到粉丝手写的信，一整天都在傻笑",
    "孩子第一次叫爸爸，录下来听了一百遍",
    "周末睡到自然醒，阳台上晒太阳，真舒服",
)
NEGATIVE = (
    "客服踢了一下午皮球，到现在也没人给我退款",
    "加班到凌晨还被说不努力，真的心寒",
    "手机刚买一周就黑屏，再也不信这个牌子了",
    "演唱会临时取消，机票酒店全打水漂了",
    "又堵在高架上一个多小时，烦死了",
    "爷爷走了，连最后一面都没见上",
    "楼上半夜还在装修，整个人都要崩溃了",
    "外卖洒了一半，菜也凉了，一点胃口都没有",
    "努力了三个月的方案被一句话否定，好累",
    "明明是他们的错，最后却要我道歉，恶心",
    "发烧第三天，嗓子疼得话都说不出来",
    "被最好的朋友背后捅了一刀，不知道还能信谁",
    "剧情烂尾成这样，浪费我追了两个月的时间",
)


def everyday(sentiment: Callable[[list[str]], Array]) -> dict[str, Any]:
    """Right answers of 26, by side, and the posts it got wrong; `sentiment` gives float32 [texts, 2]."""
    texts = [*NEGATIVE, *POSITIVE]
    guesses = sentiment(texts).argmax(axis=1)
    labels = TASKS["sentiment"].labels
    truth = [labels.index("negative")] * len(NEGATIVE) + [labels.index("positive")] * len(POSITIVE)
    right = [guess == true for guess, true in zip(guesses, truth, strict=True)]
    return {
        "right": sum(map(int, right)),
        "negative": sum(map(int, right[: len(NEGATIVE)])),
        "positive": sum(map(int, right[len(NEGATIVE) :])),
        "wrong": [text for text, ok in zip(texts, right, strict=True) if not ok],
    }
