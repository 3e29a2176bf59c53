"""Sharing what was built: locks and the files that they name, pushed once and pulled by many.

``share``     what a share is, and which kind a name means
``folder``    a folder that all can reach
``objects``   an object store
``registry``  a registry of images (OCI)
``pushing``   from a model to a share
``pulling``   from a share to an environment
"""
