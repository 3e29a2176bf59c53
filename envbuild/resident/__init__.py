"""Resident workers: a worker that stays behind for the next call, in whatever shell; ``docs/resident.md`` has the promises.

``calling``   what a call does: find a worker, or leave one behind
``asking``    a keeper found, and its worker asked
``key``       what decides whether a worker may answer a call
``ground``    the private directory where they are found
``line``      what a caller and a keeper say to each other
``order``     how a keeper is started, and what it is told
``keeper``    its process, from the order to the end
``keeping``   serving one worker to whoever calls
``usage``     what a worker takes
``listing``   which there are, and how they are ended
"""
