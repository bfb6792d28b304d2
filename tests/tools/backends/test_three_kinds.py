"""One batch over three kinds of servers at once, which loses one of them half way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.backends.three_kinds import SECRETS, files_with_secrets, judged_pictures, losing, make_batch, records_of, three_kinds
from tools.stand_in import render_references, start_embedded_server

COUNT = 8


def test_a_batch_over_three_kinds_that_loses_one_ends_with_the_set_of_one_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    render_references(tmp_path / "references", 1)
    with start_embedded_server() as one:
        make_batch(tmp_path, "alone", COUNT, "--comfy-url", one.url)
    alone = judged_pictures(tmp_path / "alone")
    assert {verdict for verdict, _ in alone.values()} == {"approved", "rejected"}
    with three_kinds(tmp_path, seconds_per_picture=0.3) as servers:
        with losing(servers, "proxy stopped", after_jobs=2) as lost:
            code, mixed = make_batch(tmp_path, "mixed", COUNT, "--servers", str(servers.file))
        assert lost.is_set()
        assert code == 0
        assert judged_pictures(mixed) == alone
        assert {record["server"] for record in records_of(mixed, "submitted")} == servers.urls()
        handles = {record["handle"] for record in records_of(mixed, "accepted")}
        assert set(servers.endpoint.jobs) <= handles
    said = capsys.readouterr()
    assert f"{servers.proxy_url}: gone for " in said.err
    assert {"cost_log.jsonl", "mixed.jsonl", "journal.jsonl", "batch.json"} <= {path.name for path in tmp_path.rglob("*.json*")}
    assert files_with_secrets(tmp_path) == []
    assert [secret for secret in SECRETS if secret in said.out + said.err] == []
