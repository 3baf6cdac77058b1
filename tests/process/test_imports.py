from __future__ import annotations

import gc

from relay.process.imports import lasting_imports


def test_collector_ignores_what_was_imported() -> None:
    before = gc.get_freeze_count()
    try:
        with lasting_imports():
            assert not gc.isenabled()
            with lasting_imports():  # a command can import another module
                assert not gc.isenabled()
            assert gc.get_freeze_count() == before
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
