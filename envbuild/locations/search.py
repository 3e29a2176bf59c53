"""The search for a model that is not a directory here: asked for, fetched, unpacked, kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from envbuild.errors import ModelNotFound, ModelUnreachable
from envbuild.files import sha256_of
from envbuild.locations import archive, download
from envbuild.locations.asking import Asker, Nearby
from envbuild.locations.listing import Listing, key_of
from envbuild.locations.located import Located
from envbuild.locations.naming import Named
from envbuild.model import MLMODEL, Notice
from envbuild.progress import Report
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.making import Making
from envbuild.store.models import Known, Models


class Search:
    """One search for a model that is not a directory here."""

    def __init__(self, model: Named, settings: Settings, report: Report) -> None:
        self._model = model
        self._settings = settings
        self._report = report
        self._store = Store(settings)
        self._models = Models(self._store)
        self._making = Making(self._store, settings)
        self._before = self._models.known(model.text)

    def found(self, *, whole: bool) -> Located:
        """The model; see :func:`envbuild.locations.locate`."""
        if self._model.kind == "archive":
            return self._of_archive(Path(self._model.text).expanduser())
        if self._settings.offline:
            return self._last()
        if self._model.kind == "web":
            return self._of_web()
        with Asker(self._model, self._settings, self._report) as asker:
            listing = asker.listed()
            if isinstance(listing, Nearby):
                return self._nearby(listing)
            return self._of_listing(listing, asker, whole=whole)

    def _nearby(self, found: Nearby) -> Located:
        if not (found.path / MLMODEL).exists():
            raise ModelNotFound(
                f"{self._model.said} leads to {found.path}, and there is no model there",
                hint="the server keeps models on a disk that is not this machine's: it must serve artifacts itself",
            )
        return Located(path=found.path, uri=self._model.said)

    def _last(self) -> Located:
        """What was fetched when the model's place was asked last."""
        path = self._kept()
        if path is None:
            raise ModelUnreachable(
                f"{self._model.said} is not kept here, and the network is not to be used",
                hint="run once without --offline",
            )
        return Located(path=path, uri=self._model.said)

    def _kept(self) -> Path | None:
        """What the name last led to, if it is still here."""
        return None if self._before is None else self._models.place(self._before.key, self._model.name)

    def _of_listing(self, listing: Listing, asker: Asker, *, whole: bool) -> Located:
        if not any(one.path == MLMODEL for one in listing.files):
            raise self._no_model(listing)
        name = self._model.name
        asked = listing if whole else listing.small
        # All of it may be there already, which is as good.
        path = self._models.place(listing.key(name), name)
        if path is None:
            path = self._made(asked.key(name), lambda into, say: self._fetch(asker, asked, into, say))
        # A name that was looked into alone has led nowhere yet that could be used without a network.
        complete = path.parent.name == listing.key(name)
        notices = self._noted(Known(key=listing.key(name), said=listing.said)) if complete else ()
        return Located(path=path, uri=self._model.said, notices=notices, whole=complete)

    def _no_model(self, listing: Listing) -> ModelNotFound:
        deeper = sorted(one.path.rpartition("/")[0] for one in listing.files if one.path.endswith(f"/{MLMODEL}"))
        hint = (
            f"there is one below it: {self._model.said}/{deeper[0]}" if deeper else "is it the model's own directory?"
        )
        return ModelNotFound(f"there is no {MLMODEL} at {self._model.said}", hint=hint)

    def _fetch(self, asker: Asker, listing: Listing, into: Path, report: Report) -> None:
        asker.fetch(listing, into, report)
        for one in listing.files:
            there = into / one.path
            if not there.is_file() or (one.size is not None and there.stat().st_size != one.size):
                there.unlink(missing_ok=True)
                raise ModelUnreachable(
                    f"{one.path} of {self._model.said} is not what was listed",
                    hint="did it change meanwhile? try again",
                )

    def _of_archive(self, path: Path) -> Located:
        """An archive on this disk: read whole only when it is another than the last time."""
        facts = path.stat()
        state = f"file {facts.st_size} {facts.st_mtime_ns} {facts.st_ino}"
        if self._before is not None and self._before.state == state and (place := self._kept()) is not None:
            return Located(path=place, uri=self._model.said)
        return self._unpacked(path, state)

    def _of_web(self) -> Located:
        with self._models.downloading(self._model.text, self._making, self._report) as folder:
            # Whoever was before us may have fetched it.
            self._before = before = self._models.known(self._model.text)
            place = self._kept()
            state = "" if place is None or before is None else before.state
            with self._store.explained():
                found = download.fetched(self._model, state, folder, self._report)
            if found is None and place is not None:
                return Located(path=place, uri=self._model.said)
            if found is None:
                raise ModelUnreachable(f"{self._model.said} cannot be had: the server sends nothing", hint="try again")
            return self._unpacked(found.path, found.state)

    def _unpacked(self, path: Path, state: str) -> Located:
        key = key_of(["archive", self._model.name, sha256_of(path)])

        def fill(into: Path, report: Report) -> None:
            with self._store.explained():
                archive.unpack(path, into, self._model.said, report)

        place = self._made(key, fill)
        return Located(path=place, uri=self._model.said, notices=self._noted(Known(key=key, state=state)))

    def _made(self, key: str, fill: Callable[[Path, Report], None]) -> Path:
        return self._models.made(key, self._model.name, fill, self._making, self._report)

    def _noted(self, known: Known) -> tuple[Notice, ...]:
        """Remember what a name led to; what to say where that is another model than the last time."""
        before = self._before
        self._models.note(self._model.text, known)
        if before is None or before.key == known.key:
            return ()
        was = f": {before.said} then, {known.said} now" if before.said != known.said and before.said else ""
        message = f"{self._model.said} is another model than when it was last used here{was}"
        return (Notice(code="model-changed", message=message),)
