"""The named rules that mend what plain resolving would fail on.

Each rule has a name, which is the code of the notice that says it was used, in ``inspect``, in ``lock`` and in the lock
itself, and each can be switched. *Safe* ones keep every version that the model pins and its Python's minor version;
the others need the consent of the one who deploys. ``docs/repairs.md`` lists them all.

``rules``      the names, and the switch
``packages``   what is known of single packages: lists that the rules go by
``reading``    rules that need nothing but what the model says
``attempt``    one try at resolving
``resolving``  the first try, and the rules that answer a failed one by what the engine and the index say, in order:
               ``dates``, ``absences``, ``pins``, ``pythons``, ``wheels``
``releases``   which files a release has, and for whom

Nothing is imported here: what mends a model's spec is needed by every call, and what answers a failed try by few.
"""
