from stream.alerts.explain import crowd, explain, representatives, same, terms
from stream.events import EmotionEvent, dumps
from tests.stream.examples import event, scores


def said(text: str, *, angry: float = 0.9, author: str = "a", post: str | None = None) -> EmotionEvent:
    made = event(0, scores(anger=angry), text=text, author=author, post_id=post)
    return EmotionEvent.model_validate_json(dumps(made))


CALM = [said(f"今天巡演{n}真的好看，队长加油", angry=0.1) for n in range(60)]


def test_terms_are_those_that_set_now_apart_and_not_those_that_are_always_said():
    now = [f"退票通道打不开，巡演取消 {n}" for n in range(20)] + ["队长加油"] * 5
    found = [term.term for term in terms(now, [event.text for event in CALM])]
    assert {"退票", "取消"} <= set(found)
    assert "队长" not in found
    assert "巡演" not in found[:2]


def test_one_long_rant_makes_no_topic():
    assert terms(["退票" * 50], ["巡演"] * 20) == []


def test_english_terms_count_whatever_their_case():
    found = terms(["REFUND now please"] * 5 + ["refund it"] * 5, ["lovely tour"] * 20)
    assert found[0].term == "refund"
    assert found[0].comments == 10


def test_representatives_differ_and_know_their_copies():
    events = [said("退票！！", author=str(n)) for n in range(9)] + [said("退票") for _ in range(3)]
    events += [said("退票退票", angry=0.95), said("主办方道歉", angry=0.8), said("手续费太贵了", angry=0.7)]
    chosen = representatives(events)
    assert len(chosen) == 3
    assert (chosen[0].text, chosen[0].copies) == ("退票！！", 12)
    assert {one.text for one in chosen[1:]} == {"主办方道歉", "手续费太贵了"}


def test_copies_are_recognised_by_letters_alone():
    assert same("Ａ 退票!!～") == same("a退票")


def test_few_authors_and_one_text_are_seen_in_their_shares():
    flood = [said("抵制", author=f"b{n % 4}") for n in range(80)]
    others = [said(f"不满意第{n}集", author=f"u{n}") for n in range(20)]
    found = crowd([*flood, *others, *CALM])
    assert found.by_authors == 0.81
    assert found.by_text == 0.8
    assert crowd([]).by_authors == 0


def test_an_explanation_has_the_numbers_posts_and_no_author_but_pseudonyms():
    now = [said(f"退票第{n}次", author="xiaoming", post="notice") for n in range(10)]
    why = explain([*now, said("好听", angry=0.1, post="song")], CALM)
    assert (why.comments, why.negative) == (11, 10)
    assert [(post.post_id, post.comments, post.negative) for post in why.posts] == [("notice", 10, 10)]
    assert "xiaoming" not in why.model_dump_json()
    assert {one.author for one in why.representatives} == {now[0].author}


def test_without_texts_there_are_still_posts_and_authors():
    silent = [one.model_copy(update={"text": None}) for one in [said("气死", post="p")] * 5]
    why = explain(silent, [])
    assert why.terms == []
    assert why.representatives == []
    assert why.posts[0].negative == 5
    assert explain([], CALM) is None
