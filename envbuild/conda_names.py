"""Which conda packages are which packages of a Python index: an explicit list, since a name alone proves nothing.

A conda name may be somebody else's package on an index, so that a name that is not here is never guessed.
"""

from __future__ import annotations

# Another name on the index.
RENAMED = {
    "dask-core": "dask",
    "keras-gpu": "keras",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pytables": "tables",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ruamel_yaml": "ruamel-yaml",
    "tensorflow-base": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "tensorflow-eigen": "tensorflow",
}

# The same project under the same name.
SAME = frozenset(
    ["absl-py", "aiohttp", "alembic", "altair", "astropy", "attrs", "azure-core", "azure-storage-blob", "beautifulsoup4", "bokeh", "boto3", "botocore", "category_encoders", "catboost", "certifi", "cffi", "chardet", "charset-normalizer", "click", "cloudpickle", "configparser", "cryptography", "cycler", "cython", "dask", "databricks-cli", "datasets", "decorator", "dill", "distributed", "docker", "entrypoints", "fastai", "fastapi", "faiss-cpu", "fastparquet", "feature-engine", "filelock", "flask", "fsspec", "future", "gensim", "gitpython", "google-cloud-storage", "grpcio", "gunicorn", "h2o", "h5py", "holidays", "huggingface_hub", "hyperopt", "idna", "imbalanced-learn", "importlib-metadata", "ipykernel", "ipython", "itsdangerous", "jinja2", "joblib", "jsonschema", "jupyter", "keras", "kiwisolver", "lime", "llvmlite", "lxml", "mako", "markupsafe", "matplotlib", "mleap", "mlflow", "mlflow-skinny", "networkx", "nltk", "numba", "numexpr", "numpy", "oauthlib", "onnx", "onnxruntime", "optuna", "orjson", "packaging", "pandas", "patsy", "pathlib2", "pillow", "pip", "plotly", "pmdarima", "polars", "prometheus_client", "prophet", "protobuf", "psutil", "psycopg2", "pyarrow", "pycparser", "pydantic", "pyjwt", "pymysql", "pyopenssl", "pyparsing", "pyspark", "python-dateutil", "pytorch-lightning", "pytz", "pyyaml", "querystring_parser", "regex", "requests", "ruamel.yaml", "s3fs", "scikit-image", "scikit-learn", "scipy", "seaborn", "sentencepiece", "sentence-transformers", "setuptools", "shap", "simplejson", "six", "skops", "sktime", "smmap", "sqlalchemy", "sqlparse", "starlette", "statsmodels", "sympy", "tabulate", "tensorboard", "tensorflow", "tensorflow-gpu", "textblob", "threadpoolctl", "tokenizers", "toolz", "torchaudio", "torchvision", "tornado", "tqdm", "transformers", "typing-extensions", "typing_extensions", "tzlocal", "urllib3", "uvicorn", "websocket-client", "werkzeug", "wheel", "wrapt", "xgboost", "xlrd", "zipp"]
)

# Native libraries and tools that wheels bring themselves or that the interpreter has: set aside, and said.
NATIVE = frozenset(
    ["_libgcc_mutex", "_openmp_mutex", "blas", "bzip2", "ca-certificates", "cudatoolkit", "cudnn", "freetype", "gcc_linux-64", "gxx_linux-64", "icu", "intel-openmp", "jpeg", "krb5", "ld_impl_linux-64", "libblas", "libcblas", "libcurl", "libffi", "libgcc", "libgcc-ng", "libgfortran", "libgfortran-ng", "libgfortran4", "libgfortran5", "libgomp", "liblapack", "libllvm10", "libllvm11", "libllvm9", "libnsl", "libopenblas", "libpng", "libprotobuf", "libsqlite", "libssh2", "libstdcxx-ng", "libtiff", "libuuid", "libuv", "libwebp", "libxml2", "libxslt", "libzlib", "llvm-openmp", "lz4-c", "mkl", "mkl-service", "mkl_fft", "mkl_random", "mpc", "mpfr", "gmp", "ncurses", "ninja", "nccl", "openblas", "openjdk", "openssl", "pcre", "python_abi", "pytorch-cuda", "pytorch-mutex", "readline", "snappy", "sqlite", "tk", "tzdata", "xz", "yaml", "zlib", "zstd"]
)


def on_index(name: str) -> str | None:
    """The index's name for a conda package; ``None`` where the list has none."""
    return RENAMED.get(name) or (name if name in SAME else None)
