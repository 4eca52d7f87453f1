"""Wire format of an alert, as `fp:alerts` and the webhooks carry it. It knows no rule and no client."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Severity = Literal["info", "warning", "critical"]
State = Literal["firing", "resolved"]
Share = Annotated[float, Field(ge=0, le=1)]

DATA_MISSING = "data-missing"
"""Rule name of the alert that says figures are too old to be judged; its community is empty."""


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        serialize_by_alias=True,
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )


class Term(_Frozen):
    """A word that sets the negative comments of now apart."""

    term: str
    z: float = Field(description="Log-odds against the comments before, in standard deviations.")
    comments: int = Field(description="Negative comments of now that contain it.")


class Post(_Frozen):
    """A post under which the negative comments stand."""

    post_id: str
    comments: int
    negative: int


class Representative(_Frozen):
    """A negative comment that stands for others."""

    id: str
    text: str
    author: str | None = Field(description="Pseudonym.")
    created_at: AwareDatetime
    labels: list[str]
    negativity: Share
    copies: int = Field(description="How many negative comments of now say the same.")


class Explanation(_Frozen):
    """Why, by the comments that were at hand when the alert fired: the newest ones, not all."""

    comments: int = Field(description="Comments looked at.")
    negative: int = Field(description="Negative ones among them.")
    terms: list[Term]
    posts: list[Post]
    representatives: list[Representative]
    by_few_authors: Share = Field(description="Share of the negative ones by the five busiest authors.")
    by_one_text: Share = Field(description="Share of the negative ones that repeat the most repeated text.")


class Alert(_Frozen):
    """One change of one alert. All changes of an alert share its `id`; `id` and `state` name the change.

    Times are event time, by the minute.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema", description="Version of this format.")
    id: str = Field(description="Rule, community and first minute (epoch seconds), joined by slashes.")
    rule: str
    kind: str
    community: str
    severity: Severity
    state: State
    at: AwareDatetime = Field(description="When it came to this state.")
    since: AwareDatetime = Field(description="Since when the condition had held.")
    value: float = Field(description="What was measured, at `at`.")
    limit: float = Field(description="From where on it is too much.")
    baseline: float | None = Field(description="What is usual for the community; null where unknown.")
    summary: dict[Literal["zh", "en"], str] = Field(description="One sentence, by language.")
    numbers: dict[str, float] = Field(description="Further figures behind the judgement, by name.")
    explanation: Explanation | None = Field(description="Null in `resolved`, or where no comments were kept.")
    muted: bool = Field(description="Quiet hours or a mute kept it from the channels.")
    link: str | None = Field(description="Where the board shows it.")

    @property
    def key(self) -> str:
        """Names this change, for whoever must not act on it twice."""
        return f"{self.id}/{self.state}"
