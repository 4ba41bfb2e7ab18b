"""A link's life told by a generated Python client: made, polled, live, unlinked."""

import os
import time

import httpx
from linkbroker_client import AuthenticatedClient
from linkbroker_client.api.connections import create_connection, delete_connection
from linkbroker_client.api.links import create_link, delete_link, get_link, list_events, list_links
from linkbroker_client.models import (
    BuildSettings,
    Connection,
    ConnectionNames,
    Link,
    LinkRequest,
    LinkRequestLabels,
    LinkStatus,
    NewConnection,
    Problem,
    ProblemCode,
    SiteRequest,
    StepState,
    TokenCredential,
    TokenCredentialType,
    UpstreamKind,
)

NAME = "python"
SANDBOX = os.environ["LINKBROKER_SANDBOX"]
API = AuthenticatedClient(base_url=os.environ["LINKBROKER_URL"], token=os.environ["LINKBROKER_TOKEN"])


def good(answer):
    """What was answered; a problem ends the story."""
    assert answer is not None and not isinstance(answer, Problem), answer
    return answer


def connect(kind: UpstreamKind) -> Connection:
    credential = TokenCredential(type_=TokenCredentialType.TOKEN, token=f"sandbox-{kind}-token")
    new = NewConnection(name=f"{NAME}-{kind}", kind=kind, credential=credential)
    return good(create_connection.sync(client=API, body=new))


def settled(link_id: str) -> Link:
    deadline = time.monotonic() + 60
    while True:
        link = good(get_link.sync(link_id, client=API))
        if not link.poll_after_ms:
            return link
        assert time.monotonic() < deadline, f"still {link.status}"
        time.sleep(link.poll_after_ms / 1000)


def main() -> None:
    repository = {"owner": "acme", "name": NAME, "template": "site", "text": f"Hello {NAME}"}
    httpx.post(f"{SANDBOX}/__sandbox/repositories", json=repository).raise_for_status()
    netlify, github = connect(UpstreamKind.NETLIFY), connect(UpstreamKind.GITHUB)
    request = LinkRequest(
        repository=f"https://github.com/acme/{NAME}",
        site=SiteRequest(name=f"acme-{NAME}"),
        build=BuildSettings(command="sh build.sh", publish="dist"),
        connections=ConnectionNames(netlify=netlify.name, provider=github.name),
        ref=f"clients/{NAME}",
        labels=LinkRequestLabels.from_dict({"client": NAME}),
    )
    accepted = create_link.sync_detailed(client=API, body=request)
    link_id = good(accepted.parsed).id
    assert accepted.status_code == 202
    assert accepted.headers["location"] == f"/links/{link_id}"

    live = settled(link_id)
    assert live.status == LinkStatus.LIVE, live.diagnosis
    assert live.labels["client"] == NAME
    assert all(step.state in (StepState.DONE, StepState.SKIPPED) for step in live.steps)
    assert f"Hello {NAME}" in httpx.get(f"{SANDBOX}/sites/acme-{NAME}/").text
    page = good(list_links.sync(client=API, ref=f"clients/{NAME}", limit=1))
    assert [link.id for link in page.links] == [link_id]
    assert good(list_events.sync(link_id, client=API)).events[0].type_ == "link.accepted"

    twice = create_link.sync(client=API, body=request)
    assert isinstance(twice, Problem) and twice.code == ProblemCode.LINK_EXISTS, twice

    good(delete_link.sync(link_id, client=API))
    gone = settled(link_id)
    assert gone.status == LinkStatus.UNLINKED
    assert all(resource.receipt for resource in gone.resources)
    for connection in (netlify, github):
        assert delete_connection.sync_detailed(connection.id, client=API).status_code == 204
    print("Python: created, polled, live, unlinked")


main()
