"""The table: for each model that misbehaves, what the host must see, and whether the same worker answers afterwards."""

from __future__ import annotations

from typing import Any, Final

STAYS: Final = True
ENDS: Final = False

EXPECTED: Final[dict[str, tuple[str, bool]]] = {
    "aborts": ("`worker-killed` (8): the worker was killed by SIGABRT", ENDS),
    "adopts_orphans": ('answers `"adopted"`', STAYS),
    "allocates_without_end": ("`out-of-memory` (8): the model's predict raised an exception: MemoryError", STAYS),
    "allows_itself_no_files": ('answers `"set"`', STAYS),
    "answers_half_a_surrogate_pair": ('answers `"half \\ud83d of a face"`', STAYS),
    "answers_too_deep": ("`output-invalid` (7): predictions are nested too deeply, or hold themselves", STAYS),
    "answers_too_much": ("`output-too-large` (7): the answer has 50000002 bytes, and may have 1000000", STAYS),
    "answers_with_a_list_that_raises": (
        "`output-invalid` (7): predictions cannot be made JSON: looking into them raised RuntimeError",
        STAYS,
    ),
    "answers_with_an_array_that_raises": (
        "`output-invalid` (7): predictions cannot be made JSON: looking into them raised RuntimeError",
        STAYS,
    ),
    "answers_with_itself": ("`output-invalid` (7): predictions are nested too deeply, or hold themselves", STAYS),
    "answers_with_what_exits": ("`output-invalid` (7): the answer cannot be written: SystemExit: 3", STAYS),
    "answers_with_what_lies_about_its_class": (
        "`output-invalid` (7): predictions cannot be made JSON: looking into them raised AttributeError",
        STAYS,
    ),
    "answers_without_end": ("`output-invalid` (7): predictions is a generator, which has no form in JSON", STAYS),
    "becomes_another_program": ("`worker-exited` (7): the worker exited with status 5 in the middle of its work", ENDS),
    "blocks_in_c": ("`timed-out` (8): the model did not answer within 0.5 seconds", ENDS),
    "blocks_signals_and_hangs": ("`timed-out` (8): the model did not answer within 0.5 seconds", ENDS),
    "breaks_builtins": ("`worker-exited` (7): the worker exited with status 3 in the middle of its work", ENDS),
    "breaks_imports": ('answers `"broken"`', STAYS),
    "calls_sys_exit": ("`model-raised` (7): the model called sys.exit(3)", STAYS),
    "calls_sys_exit_while_loading": ("`model-not-loaded` (7): the model called sys.exit(no licence)", ENDS),
    "changes_directory": ('answers `"changed"`', STAYS),
    "changes_its_input": ('answers `"changed"`', STAYS),
    "changes_the_locale": ("answers `0.5`", STAYS),
    "clears_sys_modules": ('answers `"cleared"`', ENDS),
    "clears_the_environment": ('answers `"cleared"`', STAYS),
    "closes_all_fds": ("`worker-exited` (7): the worker exited with status 74 in the middle of its work", ENDS),
    "closes_fds_0_1_and_2": ('answers `"closed"`', STAYS),
    "computes_without_end": ("`timed-out` (8): the model did not answer within 0.5 seconds", ENDS),
    "dies_by_an_alarm": ("`worker-killed` (8): the worker was killed by SIGALRM", ENDS),
    "exits_at_once_while_loading": (
        "`worker-exited` (7): the worker exited with status 7 in the middle of its work",
        ENDS,
    ),
    "exits_at_once_with_0": ("`worker-exited` (7): the worker exited with status 0 in the middle of its work", ENDS),
    "exits_at_once_with_7": ("`worker-exited` (7): the worker exited with status 7 in the middle of its work", ENDS),
    "fails_when_it_is_imported": (
        "`model-not-loaded` (7): the model could not be loaded: ModuleNotFoundError: No module named 'no_such_module_an",
        ENDS,
    ),
    "fills_tmpdir": ('answers `"filled"`', STAYS),
    "forks_a_child_that_raises": ('answers `"once"`', STAYS),
    "forks_a_daemon": ('answers `"forked"`', STAYS),
    "forks_and_returns_twice": ('answers `"once"`', STAYS),
    "forks_daemons_and_dies": ("`worker-exited` (7): the worker exited with status 9 in the middle of its work", ENDS),
    "hangs_up_its_parent": ("`worker-killed` (8): the worker was killed by SIGKILL", ENDS),
    "has_no_loader": (
        "`model-not-loaded` (7): the model could not be loaded: ImportError: the loader module 'has_no_loader' has no _",
        ENDS,
    ),
    "has_no_time_left": ("`worker-killed` (8): the worker was killed by SIGXCPU", ENDS),
    "ignores_signals_and_hangs": ("`timed-out` (8): the model did not answer within 0.5 seconds", ENDS),
    "ignores_the_end_of_children": ("answers `0`", STAYS),
    "is_slow_to_unload": ('answers `"misbehave"`', STAYS),
    "kills_its_group": ("`worker-killed` (8): the worker was killed by SIGKILL", ENDS),
    "kills_its_parent": ("`worker-killed` (8): the worker was killed by SIGKILL", ENDS),
    "kills_itself": ("`worker-killed` (8): the worker was killed by SIGKILL", ENDS),
    "leaves_a_busy_thread": ('answers `"left"`', STAYS),
    "leaves_a_low_recursion_limit": ('answers `"left"`', STAYS),
    "leaves_a_pool": ('answers `"left"`', STAYS),
    "leaves_an_event_loop_running": ('answers `"left"`', STAYS),
    "leaves_children_and_is_killed": ("`worker-killed` (8): the worker was killed by SIGKILL", ENDS),
    "leaves_children_with_its_files": ('answers `"left"`', STAYS),
    "leaves_its_session": ('answers `"gone"`', STAYS),
    "leaves_its_session_and_hangs": ("`timed-out` (8): the model did not answer within 0.5 seconds", ENDS),
    "leaves_threads_that_never_end": ('answers `"left"`', STAYS),
    "opens_files_to_the_limit": ('answers `"kept"`', STAYS),
    "prints_from_a_thread": ('answers `"printing"`', STAYS),
    "prints_gigabytes_to_fd_1": ('answers `"printed"`', STAYS),
    "prints_gigabytes_to_fd_2": ('answers `"printed"`', STAYS),
    "prints_in_c": ('answers `"printed"`', STAYS),
    "prints_what_is_no_text": ('answers `"printed"`', STAYS),
    "prints_when_it_is_unloaded": ('answers `"registered"`', STAYS),
    "prints_without_an_end_of_line": ('answers `"printed"`', STAYS),
    "puts_dev_null_over_all_fds": (
        "`worker-exited` (7): the worker exited with status 74 in the middle of its work",
        ENDS,
    ),
    "puts_what_raises_over_stdout": ('answers `"replaced"`', STAYS),
    "raises_100_megabytes": (
        "`model-raised` (7): the model's predict raised an exception: ValueError: word word word word word word word wo",
        STAYS,
    ),
    "raises_a_circle_of_exceptions": (
        "`model-raised` (7): the model's predict raised an exception: ValueError: one",
        STAYS,
    ),
    "raises_generator_exit": ("`model-raised` (7): the model's predict raised an exception: GeneratorExit: odd", STAYS),
    "raises_half_a_surrogate_pair": (
        "`model-raised` (7): the model's predict raised an exception: ValueError: half \\ud83d of a face",
        STAYS,
    ),
    "raises_keyboard_interrupt": (
        "`worker-exited` (7): the worker exited with status 130 in the middle of its work",
        ENDS,
    ),
    "raises_memory_error": ("`out-of-memory` (8): the model's predict raised an exception: MemoryError", STAYS),
    "raises_memory_error_while_loading": ("`out-of-memory` (8): the model could not be loaded: MemoryError", ENDS),
    "raises_stop_iteration": ("`model-raised` (7): the model's predict raised an exception: StopIteration: odd", STAYS),
    "raises_what_cannot_be_compared": (
        "`model-raised` (7): the model's predict raised an exception: Incomparable: some words",
        STAYS,
    ),
    "raises_what_cannot_be_pickled": (
        "`model-raised` (7): the model's predict raised an exception: Locked: some words",
        STAYS,
    ),
    "raises_what_cannot_be_printed": (
        "`model-raised` (7): the model's predict raised an exception: Silent: <cannot be shown>",
        STAYS,
    ),
    "raises_what_exits_when_printed": (
        "`model-raised` (7): the model's predict raised an exception: Leaving: <cannot be shown>",
        STAYS,
    ),
    "raises_what_has_no_name": ("`model-raised` (7): what the model did cannot be told: RuntimeError: no name", STAYS),
    "raises_what_lies_about_its_class": (
        "`model-raised` (7): the model's predict raised an exception: Liar: honest words",
        STAYS,
    ),
    "reads_from_every_fd": ("`timed-out` (8): the model did not answer within 0.5 seconds", ENDS),
    "reads_stdin": ('answers `"nothing"`', STAYS),
    "recurses_through_c": ("`worker-killed` (8): the worker was killed by SIGSEGV", ENDS),
    "recurses_to_death": (
        "`model-raised` (7): the model's predict raised an exception: RecursionError: maximum recursion depth exceeded",
        STAYS,
    ),
    "remembers_requests": ("answers `1`", STAYS),
    "removes_its_home_and_tmpdir": ('answers `"removed"`', STAYS),
    "removes_its_working_directory": ('answers `"removed"`', STAYS),
    "removes_stdout": ('answers `"removed"`', STAYS),
    "replaces_builtins": ('answers `"replaced"`', STAYS),
    "replaces_functions_of_os": ('answers `"replaced"`', STAYS),
    "replaces_hooks": ('answers `"replaced"`', STAYS),
    "replaces_json": ('answers `"replaced"`', STAYS),
    "segfaults": ("`worker-killed` (8): the worker was killed by SIGSEGV", ENDS),
    "segfaults_while_loading": ("`worker-killed` (8): the worker was killed by SIGSEGV", ENDS),
    "sets_the_umask": ('answers `"set"`', STAYS),
    "sleeps_while_it_is_imported": ("`timed-out` (8): the model was not loaded within 0.5 seconds", ENDS),
    "starts_500_threads": ('answers `"started"`', STAYS),
    "starts_a_daemon_without_an_environment": ('answers `"started"`', STAYS),
    "stops_its_parent": ('answers `"stopped"`', STAYS),
    "stops_itself": ("`timed-out` (8): the model did not answer within 0.5 seconds", ENDS),
    "takes_all_signals": ('answers `"taken"`', STAYS),
    "terminates_its_group": ("`worker-killed` (8): the worker was killed by SIGTERM", ENDS),
    "terminates_its_parent": ("`worker-killed` (8): the worker was killed by SIGTERM", ENDS),
    "uses_multiprocessing_by_fork": ("answers `[1, 2]`", STAYS),
    "uses_multiprocessing_by_spawn": ("answers `[1, 2]`", STAYS),
    "waits_for_itself": ("`timed-out` (8): the model did not answer within 0.5 seconds", ENDS),
    "writes_into_its_own_folder": ('answers `"written"`', STAYS),
    "writes_to_every_fd": ("`worker-protocol` (7): a header from the worker is not JSON", ENDS),
}
"""The beginning of what is seen (:func:`seeing.see`), and whether the next request is answered."""

# These never answer; the others have all the time that a busy machine may need.
HANGING: Final = frozenset(
    (
        "blocks_in_c",
        "blocks_signals_and_hangs",
        "computes_without_end",
        "ignores_signals_and_hangs",
        "leaves_its_session_and_hangs",
        "reads_from_every_fd",
        "sleeps_while_it_is_imported",
        "stops_itself",
        "waits_for_itself",
    )
)
NEEDS_NUMPY: Final = frozenset(("answers_with_an_array_that_raises",))
# Recent releases of Python keep it from overflowing, each in its own way.
BY_RELEASE: Final = frozenset(("recurses_through_c",))


def options(name: str) -> dict[str, Any]:
    """How a model's worker is treated."""
    seconds = 0.5 if name in HANGING else 60.0
    loading = seconds if name == "sleeps_while_it_is_imported" else 60.0
    more = {"max_output": 1_000_000} if name == "answers_too_much" else {}
    return {"load_timeout": loading, "predict_timeout": seconds, **more}
