"""Images: a model's environment, and the model, as Docker images (docs/images.md).

.. code-block:: text

    base layers            the base image's own, by its digest
    /opt/python            a portable build of the model's Python, where the base has none
    /etc/passwd, group     the user without privileges
    /opt/envbuild          envbuild with a Python of its own: the HTTP side, one layer for all images
    Debian packages        what apt-get installed, where something is needed
    /opt/environment       the lock, built in a container at this very place        ── env:<image key>
    /opt/ml/model          the model's files                                        ── <name>:<lock hash>-<model digest>

``layer``         layers as tars that are the same whenever and wherever they are made
``config``        what makes layers an image, and the archive that a daemon loads
``daemon``        the Docker daemon; with the next two and ``credentials`` all that knows its SDK
``container``     a container of ours, as long as it is needed
``daemon_errors`` what its errors mean
``base``          which base image, and what is in it
``portable``      copies of a Python that run at another place
``server_layer``  the layer of the HTTP side
``apt``           Debian packages as a layer
``prefix``        what of an environment comes from conda's channels, installed for its place inside
``inside``        the program that runs inside building containers
``environment``   the environment's image: its key, found or built
``model``         the model's image
``context``       a build context for those who build elsewhere
``verification``  whether an image holds what its labels say
``making``        from a model to both images
``shelf``         what is kept between calls
``workshop``      where images are made: loading, building containers
``ground``        everything below the environment
``template``      the Dockerfile for those who have the daemon build it
``reference``     the names of images
``registry``      sending images to a registry, and looking for them there
``conversation``  requests to a registry, tried again, and its refusals in words
``manifest``      what a registry keeps besides blobs, as OCI writes it
``blobs``         layers as blobs of a registry: found, mounted or sent
``credentials``   logins, as Docker keeps them
``sending``       both images sent, with their bill of materials
``sbom``          what is in an image, as CycloneDX
"""
