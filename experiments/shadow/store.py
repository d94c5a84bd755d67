"""The store of a rollout: an SQLite file and the bundles beside it, for the service and the commands."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Final, Literal

import numpy as np

from experiments.shadow.archive import pack
from experiments.shadow.store_reading import SELECT, as_columns
from experiments.shadow.store_rows import Decision, Decisions, Model, Outcome, Receipt, Transition
from sim.errors import InputError

Clock = Callable[[], float]
"""Seconds since 1970: the machine's, or one of a simulation."""
Role = Literal["incumbent", "candidate"]

FILE: Final = "store.sqlite"
BUNDLES: Final = "bundles"
VERSION: Final = 1
_APPLICATION: Final = 0x64776370
"""Tells our files from other SQLite files: ``dwcp`` in ASCII."""
_PATIENCE_S: Final = 30.0
"""How long a write waits for another process that writes: one batch takes some milliseconds."""

_FORGET_ROWS: Final = 2000
"""Deleted in one transaction, so that no one waits long to write."""

_SCHEMA: Final = """
CREATE TABLE models (
    version TEXT PRIMARY KEY, name TEXT NOT NULL, file TEXT NOT NULL, added REAL NOT NULL,
    features TEXT NOT NULL, actions TEXT NOT NULL, scores TEXT NOT NULL);
CREATE TABLE feature_lists (id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE);
CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, time REAL NOT NULL, region TEXT NOT NULL,
    key TEXT NOT NULL, stage TEXT NOT NULL, arm TEXT NOT NULL, action TEXT NOT NULL, propensity REAL NOT NULL,
    confidence REAL, features BLOB NOT NULL, feature_list INTEGER NOT NULL, allowed TEXT,
    incumbent TEXT NOT NULL, incumbent_action TEXT, incumbent_ms REAL NOT NULL,
    candidate TEXT, candidate_action TEXT, candidate_ms REAL, error TEXT);
CREATE INDEX decisions_by_time ON decisions (time);
CREATE TABLE outcomes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, decision TEXT NOT NULL UNIQUE, time REAL NOT NULL, cost_s REAL,
    best TEXT, costs TEXT);
CREATE TABLE transitions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, region TEXT NOT NULL, candidate TEXT NOT NULL,
    source TEXT NOT NULL, target TEXT NOT NULL, why TEXT NOT NULL, made_by TEXT NOT NULL,
    evidence TEXT NOT NULL);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class StaleStageError(Exception):
    """A transition from a stage in which its region no longer is: another one came first."""


class Store:
    """Models, decisions, outcomes and transitions on disk; what a method has written is there for good.

    Each writing method is one transaction, on the disk when it returns (write-ahead log,
    ``synchronous=FULL``). Several processes may use a store at once, several threads one of these objects.

    Args:
        folder: Where it lies.
        clock: Gives the time of what is written without a time of its own.
        create: Whether to make one where there is none.

    Raises:
        InputError: If there is none, the file is none of ours, of another version, or cannot be used.
    """

    def __init__(self, folder: Path | str, clock: Clock, *, create: bool = False) -> None:
        self.folder, self.clock = Path(folder), clock
        self.file = self.folder / FILE
        if not create and not self.file.exists():
            problem = f"no store here (no {FILE}); `dwcp-gym serve --store` makes one"
            raise InputError(self.folder, "", problem)
        self._lock = RLock()
        self._lists: dict[tuple[str, ...], int] = {}
        with self._refusing():
            (self.folder / BUNDLES).mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                self.file, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False
            )
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._prepare()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()

    def add_model(self, source: Path, manifest: Mapping[str, Any]) -> Model:
        """Keep a copy of a verified bundle, folder or ``.zip``; once, however often it is added.

        Args:
            source: The bundle.
            manifest: Of it, as the loader has read it.
        """
        version = str(manifest["seal"])[:16]
        target = self.folder / BUNDLES / f"{version}.zip"
        if not target.exists():
            pack(source, target)
        names = [one["name"] for one in manifest["features"]]
        values = (version, manifest["name"], target.name, self.clock(), _json(names))
        with self._write() as base:
            base.execute(
                "INSERT OR IGNORE INTO models VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*values, _json(manifest["actions"]), manifest["scores"]),
            )
        return self.models()[version]

    def models(self) -> dict[str, Model]:
        """All models by version, oldest first."""
        rows = self._all("SELECT * FROM models ORDER BY rowid")
        return {
            row[0]: Model._make((*row[:4], *(tuple(json.loads(one)) for one in row[4:6]), row[6]))
            for row in rows
        }

    def bundle(self, version: str) -> Path:
        """Where the bundle of a model lies."""
        return self.folder / BUNDLES / f"{version}.zip"

    def role(self, role: Role) -> str | None:
        """Version of the model in a role, None if there is none."""
        return self.setting(role)

    def set_role(self, role: Role, version: str | None) -> None:
        """Give a role to a model; a running service takes it up within about a second."""
        if version is not None and version not in self.models():
            raise ValueError(f"model {version} is not in the store; add it first")
        self.set_setting(role, version)

    def setting(self, name: str) -> Any:
        """A JSON value by name; None if it was never set."""
        rows = self._all("SELECT value FROM settings WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a JSON value by name."""
        with self._write() as base:
            base.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, _json(value)))

    def count(self, name: str) -> int:
        """One more than the last time, for good: 1, 2, 3, ..."""
        with self._write() as base:
            row = base.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
            number = 1 + (int(row[0]) if row else 0)
            base.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, str(number)))
        return number

    def write(self, decisions: Iterable[Decision], outcomes: Iterable[Outcome] = ()) -> list[Receipt]:
        """Write a batch, decisions before outcomes, all or nothing.

        Returns:
            What became of each outcome. One that is there already stays as it is.

        Raises:
            ValueError: If the id of a decision is taken.
        """
        with self._write() as base:
            try:
                base.executemany(
                    f"INSERT INTO decisions VALUES (NULL{', ?' * 19})", [self._row(one) for one in decisions]
                )
            except sqlite3.IntegrityError as error:
                raise ValueError(f"a decision cannot be written: {error}; ids must be new") from error
            return [_settle(base, one) for one in outcomes]

    def decisions(
        self,
        *,
        after: int = 0,
        region: str | None = None,
        candidate: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = -1,
    ) -> Decisions:
        """Decisions with outcomes as far as known, oldest first.

        Args:
            after: Only numbers above this one: the last one read.
            region: Only of this one.
            candidate: Only those that asked this model.
            since: Only from this time on, seconds since 1970.
            until: Only before this time.
            limit: At most so many; -1 for all.
        """
        found = {"d.seq >": after, "d.region =": region, "d.candidate =": candidate}
        return self._columns(found | {"d.time >=": since, "d.time <": until}, "d.seq", limit)

    def settled(self, *, after: int = 0, candidate: str | None = None, limit: int = -1) -> Decisions:
        """Decisions that have an outcome, in the order in which these came.

        Args:
            after: Only numbers of outcomes (``settled``) above this one.
            candidate: Only those that asked this model.
            limit: At most so many; -1 for all.
        """
        return self._columns({"o.seq >": after, "d.candidate =": candidate}, "o.seq", limit)

    def latest(self, count: int, *, region: str | None = None) -> Decisions:
        """The last decisions, oldest first."""
        where, values = ("WHERE region = ?", [region]) if region else ("", [])
        query = f"SELECT min(seq) FROM (SELECT seq FROM decisions {where} ORDER BY seq DESC LIMIT ?)"
        first = self._all(query, [*values, count])[0][0]
        return self.decisions(after=(first or 1) - 1, region=region)

    def last_seq(self) -> int:
        """Number of the last decision, 0 before the first."""
        return int(self._all("SELECT coalesce(max(seq), 0) FROM decisions")[0][0])

    def forget(self, before: float) -> int:
        """Delete decisions older than a time, with their outcomes, some at a time; gives how many."""
        count, found = 0, [(0, "")]
        while found:
            query = "SELECT seq, id FROM decisions WHERE time < ? LIMIT ?"
            found = self._all(query, (before, _FORGET_ROWS))
            with self._write() as base:
                base.executemany("DELETE FROM outcomes WHERE decision = ?", [(id_,) for _, id_ in found])
                base.executemany("DELETE FROM decisions WHERE seq = ?", [(seq,) for seq, _ in found])
            count += len(found)
        return count

    def record(self, transition: Transition) -> Transition:
        """Write a step of a rollout, if its region and candidate still are where it starts.

        Returns:
            It, with its number.

        Raises:
            StaleStageError: If another step came first. One without any yet may start anywhere.
        """
        with self._write() as base:
            query = (
                "SELECT target FROM transitions WHERE region = ? AND candidate = ? ORDER BY seq DESC LIMIT 1"
            )
            now = base.execute(query, (transition.region, transition.candidate)).fetchone()
            if now and now[0] != transition.source:
                raise StaleStageError(f"{transition.region} is in {now[0]}, no longer in {transition.source}")
            values = (*transition[1:8], _json(dict(transition.evidence)))
            done = base.execute(f"INSERT INTO transitions VALUES (NULL{', ?' * 8})", values)
            return transition._replace(seq=int(done.lastrowid or 0))

    def transitions(
        self, *, region: str | None = None, candidate: str | None = None, after: int = 0
    ) -> list[Transition]:
        """Steps, oldest first."""
        found, values = _where({"region =": region, "candidate =": candidate, "seq >": after})
        rows = self._all(f"SELECT * FROM transitions WHERE {found} ORDER BY seq", values)
        return [Transition._make((*row[:8], json.loads(row[8]))) for row in rows]

    def stages(self, candidate: str) -> dict[str, str]:
        """Stage of each region that a candidate has one in."""
        return {one.region: one.target for one in self.transitions(candidate=candidate)}

    def changes(self) -> int:
        """A number that changes when another connection has written."""
        return int(self._all("PRAGMA data_version")[0][0])

    def _prepare(self) -> None:
        with self._write() as base:
            (version,) = base.execute("PRAGMA user_version").fetchone()
            (application,) = base.execute("PRAGMA application_id").fetchone()
            tables = base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not tables and not version:
                for statement in _SCHEMA.split(";")[:-1]:
                    base.execute(statement)
                base.execute(f"PRAGMA user_version = {VERSION}")
                base.execute(f"PRAGMA application_id = {_APPLICATION}")
            elif application != _APPLICATION:
                raise InputError(self.file, "", "an SQLite file, but no store; name another folder")
            elif version != VERSION:
                problem = (
                    f"expected version {VERSION} of the store, got {version}; use the release that made it"
                )
                raise InputError(self.file, "", problem)

    def _row(self, one: Decision) -> tuple[Any, ...]:
        if len(one.features) != len(one.names):
            raise ValueError(f"expected {len(one.names)} features, got {len(one.features)}")
        allowed = None if one.allowed is None else _json(one.allowed)
        blob = np.asarray(one.features, "<f4").tobytes()
        return (*one[:9], blob, self._list(one.names), allowed, *one[12:])

    def _list(self, names: tuple[str, ...]) -> int:
        """Number of a list of features. Inside a transaction."""
        if names not in self._lists:
            text = _json(names)
            self._base.execute("INSERT OR IGNORE INTO feature_lists VALUES (NULL, ?)", (text,))
            query = "SELECT id FROM feature_lists WHERE names = ?"
            self._lists[names] = int(self._base.execute(query, (text,)).fetchone()[0])
        return self._lists[names]

    def _columns(self, found: Mapping[str, Any], order: str, limit: int) -> Decisions:
        where, values = _where(found)
        rows = self._all(f"{SELECT} WHERE {where} ORDER BY {order} LIMIT ?", [*values, limit])
        lists = dict(self._all("SELECT id, names FROM feature_lists"))
        return as_columns(rows, {number: tuple(json.loads(names)) for number, names in lists.items()})

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._refusing():
            return self._base.execute(query, values).fetchall()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._refusing():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                self._lists.clear()
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn what the disk or the file refuses into one line."""
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
            problem = f"the store cannot be used: {error}; free room, or name another folder"
            raise InputError(self.file, "", problem) from error


def _settle(base: sqlite3.Connection, one: Outcome) -> Receipt:
    if base.execute("SELECT 1 FROM decisions WHERE id = ?", (one.decision,)).fetchone() is None:
        return "unknown"
    costs = None if one.costs is None else _json(dict(sorted(one.costs.items())))
    values = (one.cost_s, one.best, costs)
    known = base.execute("SELECT cost_s, best, costs FROM outcomes WHERE decision = ?", (one.decision,))
    before = known.fetchone()
    if before is not None:
        return "repeated" if before == values else "conflict"
    base.execute("INSERT INTO outcomes VALUES (NULL, ?, ?, ?, ?, ?)", (one.decision, one.time, *values))
    return "stored"


def _where(found: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Conditions for those that are given."""
    given = {text: value for text, value in found.items() if value is not None}
    return " AND ".join(f"{text} ?" for text in given) or "1", list(given.values())


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
