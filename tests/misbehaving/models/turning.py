"""What the models beside this one share: asked to misbehave they do, and asked for anything else they give it back."""


def model_of(misbehave):
    """A loader of a model that calls ``misbehave`` with its own folder when it is asked to."""

    def load(path):
        def predict(data):
            return misbehave(path) if data["input"] == "misbehave" else data["input"]

        return predict

    return load
