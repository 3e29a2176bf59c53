"""What the one who deploys changes in a spec: an input of the resolver, never something installed on top.

``file``      an override file, or the file of a curated environment: read, and checked against its schema
``values``    the keys of such files, and what each may hold
``curated``   curated environments by name and version, in a folder or at a URL
``merging``   the settings of a call: options over the override file over the curated environment over variables
``applying``  a spec with the deployer's changes
``effects``   whether each change is met by a lock, and whether it changed anything
"""
