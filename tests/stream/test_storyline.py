import json

from stream.storyline import COMMUNITIES, EMOTIONS, Turn, storyline

START = 1_767_225_600.0
NEGATIVE = {"anger", "anxiety", "hate", "sorrow"}


def _negative_share(told, community, since, until):
    felt = [
        emotion in NEGATIVE
        for comment, emotion in told
        if comment["community"] == community and since <= comment["created_at"] / 1000 < until
    ]
    return sum(felt) / len(felt), len(felt)


def test_the_same_seed_tells_the_same_story_and_another_one_another():
    first, again, other = (list(storyline(seed, COMMUNITIES, START, 300, 1.0)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_comments_come_in_order_each_with_an_id_of_its_own_and_all_that_the_topic_asks_for():
    told = list(storyline(3, COMMUNITIES, START, 600, 1.0))
    times = [comment["created_at"] for comment, _ in told]
    assert times == sorted(times)
    assert times[0] >= START * 1000
    assert times[-1] < (START + 600) * 1000
    assert len({comment["id"] for comment, _ in told}) == len(told)
    known = {comment["id"] for comment, _ in told}
    for comment, emotion in told:
        assert emotion in EMOTIONS
        assert comment["text"]
        assert "{" not in comment["text"]
        assert comment.get("reply_to") is None or comment["reply_to"] in known
        json.dumps(comment)


def test_the_rate_is_kept_on_average_whatever_the_hour_of_the_day():
    for hour in (0, 6, 12, 18):
        told = sum(1 for _ in storyline(4, ["a"], START + hour * 3600, 1800, 2.0))
        assert 0.6 * 3600 < told < 1.5 * 3600


def test_a_souring_community_turns_when_planned_and_its_neighbour_does_not():
    turn = Turn("souring", COMMUNITIES[0], START + 900, 900)
    told = list(storyline(5, COMMUNITIES, START, 1800, 2.0, [turn]))
    before, quiet = _negative_share(told, COMMUNITIES[0], START, turn.start)
    after, busy = _negative_share(told, COMMUNITIES[0], turn.start + 120, START + 1800)
    assert before < 0.3
    assert after > 0.55
    assert busy > quiet
    assert _negative_share(told, COMMUNITIES[1], turn.start, START + 1800)[0] < 0.3


def test_a_brigade_is_few_authors_and_few_texts():
    turn = Turn("brigade", COMMUNITIES[1], START, 900)
    pasted = [c for c, _ in storyline(6, COMMUNITIES, START, 900, 2.0, [turn]) if "-new-" in c["author"]]
    assert len(pasted) > 500
    assert len({c["author"] for c in pasted}) == 4
    assert len({c["text"] for c in pasted}) == 3


def test_joy_is_loud_and_not_alarming():
    turn = Turn("joy", COMMUNITIES[2], START + 900, 900)
    told = list(storyline(7, COMMUNITIES, START, 1800, 2.0, [turn]))
    _, quiet = _negative_share(told, COMMUNITIES[2], START, turn.start)
    share, loud = _negative_share(told, COMMUNITIES[2], turn.start, START + 1800)
    assert loud > 2 * quiet
    assert share < 0.15
    assert not turn.alarming
