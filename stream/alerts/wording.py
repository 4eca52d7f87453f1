"""What happened, in one sentence, Chinese and English. Pure."""

from typing import Literal

from stream.alerts.alert import State
from stream.alerts.conditions import Judgement
from stream.alerts.rules import Concentration, Rule, Silence, Volume, Week

_SOURCES = {"authors": ("少数几位作者", "few authors"), "text": ("同一段文字", "copies of one text")}

Summary = dict[Literal["zh", "en"], str]

_MEASURES = {
    "negative": ("负面评论占比", "negative comments"),
    "negativity": ("平均负面度", "mean negativity"),
    "anger": ("愤怒", "anger"),
    "anxiety": ("焦虑", "anxiety"),
    "expect": ("期待", "expectation"),
    "hate": ("厌恶", "hate"),
    "joy": ("喜悦", "joy"),
    "love": ("喜爱", "love"),
    "sorrow": ("悲伤", "sorrow"),
    "surprise": ("惊讶", "surprise"),
    "neutral": ("中性", "neutral"),
}


def summary(rule: Rule, community: str, state: State, judgement: Judgement | None) -> Summary:
    """One sentence per language. A resolved alert may have no judgement: too few comments are left."""
    if state == "resolved":
        return {"zh": f"「{community}」已恢复平常。", "en": f"{community} is back to usual."}
    if judgement is None:
        raise ValueError("a firing alert has a judgement")
    value, usual, numbers = judgement.value, judgement.baseline, judgement.numbers
    match rule:
        case Silence():
            return {
                "zh": f"「{community}」安静下来：{rule.window} 分钟只有 {numbers['comments']:.0f} 条评论，"
                f"平时约 {numbers['expected']:.0f} 条。",
                "en": f"{community} fell silent: {numbers['comments']:.0f} comments in {rule.window} min, "
                f"usually about {numbers['expected']:.0f}.",
            }
        case Volume():
            return {
                "zh": f"「{community}」评论激增：每分钟 {value:.1f} 条，此前 {usual or 0:.1f} 条；"
                f"{numbers['negative_share']:.0%} 为负面。",
                "en": f"Surge in {community}: {value:.1f} comments a minute, {usual or 0:.1f} before; "
                f"{numbers['negative_share']:.0%} negative.",
            }
        case Concentration():
            zh, en = (
                ("少数几位作者", "few authors")
                if rule.by == "authors"
                else ("同一段文字", "copies of one text")
            )
            return {
                "zh": f"「{community}」的负面评论有 {value:.0%} 来自{zh}。",
                "en": f"{value:.0%} of the negative comments in {community} come from {en}.",
            }
        case _:
            zh, en = _MEASURES[rule.of]
            span = (24 * 60) if isinstance(rule, Week) else getattr(rule, "window", 60)
            return {
                "zh": f"「{community}」最近 {_span(span, '小时', '分钟')}{zh} {value:.0%}"
                + (f"，平时 {usual:.0%}。" if usual is not None else "。"),
                "en": f"{community}: {en} at {value:.0%} over the last {_span(span, 'h', 'min')}"
                + (f", usually {usual:.0%}." if usual is not None else "."),
            }


MISSING: dict[State, Summary] = {
    "firing": {
        "zh": "没有新的数据：在数据恢复之前，告警既不会触发也不会解除。",
        "en": "No new data: until it is back, alerts neither fire nor resolve.",
    },
    "resolved": {"zh": "数据已恢复。", "en": "Data is back."},
}

DROPPED: Summary = {"zh": "该规则不再监测此社区。", "en": "No rule watches this any more."}


def _span(minutes: int, hours_word: str, minutes_word: str) -> str:
    if minutes % 60 == 0:
        return f"{minutes // 60} {hours_word}"
    return f"{minutes} {minutes_word}"
