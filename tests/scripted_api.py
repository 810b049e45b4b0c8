"""An API server in memory, as far as lists, watches, JSON patches and deletes of single objects go.

No rule of Kubernetes is played here but resource versions, pages, preconditions, and simple selectors of
labels and names: what rests on more is tested against the real one.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonpatch

from watchbudget.controller.wire import JSON, Reply, WireError

Raw = dict[str, Any]


@dataclass
class ScriptedApi:
    """Objects by path. Implements the controller's transport.

    Attributes:
        calls: `METHOD path?query` of every request, in order; watches as `WATCH path?query`.
        page: how many objects a page of a list holds.
        intervene: asked before each request; a Reply or a WireError that it returns is the answer.
        accepts: the Accept header of every request, as in `calls`.
    """

    calls: list[str] = field(default_factory=list)
    accepts: list[str] = field(default_factory=list)
    page: int = 2
    intervene: Callable[[str, str, object], Reply | WireError | None] = lambda _method, _path, _body: None
    objects: dict[str, Raw] = field(default_factory=dict)
    version: int = 100
    watchers: list[asyncio.Queue[Raw | WireError | None]] = field(default_factory=list)
    watched: list[Mapping[str, list[str]]] = field(default_factory=list)

    def add(self, path: str, raw: Raw) -> None:
        self._store(path, raw)

    def change(self, path: str, **status: object) -> None:
        """Set fields of an object's status."""
        raw = copy.deepcopy(self.objects[path])
        raw.setdefault("status", {}).update(status)
        self._store(path, raw)

    def remove(self, path: str) -> None:
        before = self.objects.pop(path)
        self.version += 1
        gone = copy.deepcopy(before)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._tell(path, before, None, gone)

    def say(self, event: Raw | WireError | None) -> None:
        """Put an event of the test's own into every watch; None ends them."""
        for queue in self.watchers:
            queue.put_nowait(event)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,  # noqa: ANN401
        *,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float,  # noqa: ASYNC109
    ) -> Reply:
        assert timeout > 0
        self.calls.append(f"{method} {path}")
        self.accepts.append(accept)
        await asyncio.sleep(0)
        answer = self.intervene(method, path, body)
        if isinstance(answer, WireError):
            raise answer
        if answer is not None:
            return answer
        url = urlsplit(path)
        if method == "GET" and _is_collection(url.path):
            return self._list(url.path, parse_qs(url.query))
        if method == "POST":
            return Reply(201, body)
        raw = self.objects.get(url.path)
        if raw is None:
            return Reply(404, {"message": "not found"})
        if method == "PATCH":
            return self._patch(url.path, raw, body)
        if method == "DELETE":
            wanted = ((body or {}).get("preconditions") or {}).get("uid")
            if wanted and wanted != raw["metadata"]["uid"]:
                return Reply(409, {"message": "uid"})
            self.remove(url.path)
        return Reply(200, copy.deepcopy(raw))

    async def watch(self, path: str, *, timeout: float) -> AsyncIterator[Mapping[str, Any]]:  # noqa: ASYNC109
        self.calls.append(f"WATCH {path}")
        answer = self.intervene("WATCH", path, None)
        if answer is not None:
            raise answer if isinstance(answer, WireError) else WireError(f"HTTP {answer.status}")
        queue: asyncio.Queue[Raw | WireError | None] = asyncio.Queue()
        query = parse_qs(urlsplit(path).query)
        self.watchers.append(queue)
        self.watched.append({"path": [urlsplit(path).path], **query})
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, WireError):
                    raise event
                yield event
        finally:
            at = self.watchers.index(queue)
            del self.watchers[at], self.watched[at]

    def _store(self, path: str, raw: Raw) -> None:
        self.version += 1
        raw = copy.deepcopy(raw)
        raw["metadata"]["resourceVersion"] = str(self.version)
        before, self.objects[path] = self.objects.get(path), raw
        self._tell(path, before, raw, raw)

    def _tell(self, path: str, before: Raw | None, after: Raw | None, sent: Raw) -> None:
        for queue, watched in zip(self.watchers, self.watched, strict=True):
            if not _under(path, watched["path"][0]):
                continue
            was, is_now = _matches(before, watched), _matches(after, watched)
            if was or is_now:
                kind = "DELETED" if not is_now else "MODIFIED" if was else "ADDED"
                queue.put_nowait({"type": kind, "object": copy.deepcopy(sent)})

    def _list(self, path: str, query: Mapping[str, list[str]]) -> Reply:
        found = [
            copy.deepcopy(raw)
            for name, raw in sorted(self.objects.items())
            if _under(name, path) and _matches(raw, query)
        ]
        start = int(query.get("continue", ["0"])[0])
        end = start + min(self.page, int(query.get("limit", ["1000"])[0]))
        metadata = {"resourceVersion": str(self.version)}
        if end < len(found):
            metadata["continue"] = str(end)
        return Reply(200, {"metadata": metadata, "items": found[start:end]})

    def _patch(self, path: str, raw: Raw, patch: list[Raw]) -> Reply:
        try:
            changed = jsonpatch.apply_patch(raw, patch)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            return Reply(422, {"message": str(error)})
        self._store(path, changed)
        return Reply(200, copy.deepcopy(self.objects[path]))


def _is_collection(path: str) -> bool:
    _, namespaced, rest = path.partition("/namespaces/")
    return not namespaced or rest.count("/") == 1


def _under(path: str, collection: str) -> bool:
    """Whether an object is of a collection, of one namespace or of all."""
    group, _, resource = collection.rpartition("/")
    return path.startswith(f"{collection}/") or (path.startswith(group) and path.split("/")[-2] == resource)


def _matches(raw: Raw | None, query: Mapping[str, list[str]]) -> bool:
    if raw is None:
        return False
    field = query.get("fieldSelector", [""])[0]
    if field and field != f"metadata.name={raw['metadata']['name']}":
        return False
    labels = raw["metadata"].get("labels") or {}
    selector = query.get("labelSelector", [""])[0]
    if " in (" in selector:
        key, _, values = selector.partition(" in (")
        return labels.get(key) in values.rstrip(")").split(",")
    return all(
        labels.get(term.partition("=")[0]) == term.partition("=")[2] for term in selector.split(",") if term
    )
