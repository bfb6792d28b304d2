"""`/api/jobs`: one answer for what is pending, running and done (since ComfyUI 0.8.0; 0.3.64 does not have it)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from tools.stand_in.dialects import Dialect
from tools.stand_in.prompt_queue import PromptQueue, QueueItem

STATUSES = ("pending", "in_progress", "completed", "failed")
FINISHED = ("execution_success", "execution_error", "execution_interrupted")


def is_canonical(job_id: object) -> bool:
    """Whether an id is a UUID in lower case with its hyphens: ids are compared as text, so that no other spelling would be found."""
    try:
        return isinstance(job_id, str) and str(uuid.UUID(job_id)) == job_id
    except ValueError:
        return False


def find_job(queue: PromptQueue, prompt_id: str, dialect: Dialect) -> dict[str, Any] | None:
    """The document of `/api/jobs/{id}`, None for a prompt that is neither queued nor remembered."""
    running, pending = queue.snapshot()
    for status, items in (("in_progress", running), ("pending", pending)):
        for item in items:
            if item[1] == prompt_id:
                return _queued(item, status, dialect)
    entry = queue.history_entry(prompt_id)
    return _finished(prompt_id, entry[prompt_id], dialect, in_full=True) if entry else None


def list_jobs(queue: PromptQueue, query: Mapping[str, str], dialect: Dialect) -> dict[str, Any]:
    """The document of `/api/jobs`: running, pending and finished jobs with their page. Raises ValueError for a bad query."""
    statuses = [word.strip().lower() for word in query.get("status", "").split(",") if word.strip()]
    known = (*STATUSES, "cancelled") if dialect.cancels_jobs else STATUSES
    for status in statuses:
        if status not in known:
            raise ValueError(f"Invalid status value(s): {status}. Valid values: {', '.join(known)}")
    limit = int(query["limit"]) if "limit" in query else None
    offset = int(query.get("offset", 0))
    if offset < 0 or (limit is not None and limit <= 0):
        raise ValueError("limit must be positive and offset must not be negative")
    running, pending = queue.snapshot()
    jobs = [_queued(item, "in_progress", dialect) for item in running] + [_queued(item, "pending", dialect) for item in pending]
    jobs += [_finished(key, entry, dialect, in_full=False) for key, entry in queue.history().items()]
    jobs = [job for job in jobs if not statuses or job["status"] in statuses]
    jobs.sort(key=lambda job: job["create_time"] or 0, reverse=query.get("sort_order", "desc") == "desc")
    page = jobs[offset : None if limit is None else offset + limit]
    total = len(jobs)
    return {
        "jobs": page,
        "pagination": {"offset": offset, "limit": limit, "total": total, "has_more": offset + len(page) < total},
    }


def _queued(item: QueueItem, status: str, dialect: Dialect) -> dict[str, Any]:
    number, prompt_id, _, extra_data, _ = item
    job = {"id": prompt_id, "status": status, "priority": number, "create_time": extra_data.get("create_time"), "outputs_count": 0}
    return job | {"previewable_outputs_count": 0} if dialect.cancels_jobs else job


def _finished(prompt_id: str, entry: dict[str, Any], dialect: Dialect, *, in_full: bool) -> dict[str, Any]:
    number, _, graph, extra_data, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    ends = [data["timestamp"] for kind, data in messages.items() if kind in FINISHED]
    files = [
        {**file, "nodeId": node_id, "mediaType": media}
        for node_id, output in entry["outputs"].items()
        for media, found in output.items()
        for file in found
        if isinstance(file, dict)  # a text that a node shows, or a flag, is no output
    ]
    failure = "cancelled" if dialect.cancels_jobs and "execution_interrupted" in messages else "failed"
    job: dict[str, Any] = {
        "id": prompt_id,
        "status": "completed" if entry["status"]["completed"] else failure,
        "priority": number,
        "create_time": extra_data.get("create_time"),
        "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
        "execution_end_time": ends[0] if ends else None,
    }
    if "execution_error" in messages:
        job["execution_error"] = messages["execution_error"]
    job["outputs_count"] = len(files)
    if dialect.cancels_jobs:
        job["previewable_outputs_count"] = len(files)
    if files:
        job["preview_output"] = next((file for file in files if file["type"] == "output"), files[0])
    if in_full:
        job |= {"outputs": entry["outputs"], "execution_status": entry["status"], "workflow": {"prompt": graph, "extra_data": extra_data}}
    return job
