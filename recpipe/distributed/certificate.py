"""One key pair and certificate for the tasks of a fit, who trust it and nothing else."""

from __future__ import annotations

import base64
import os
import secrets
import ssl
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recpipe.errors import MissingError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ALIAS = "ring"
_ASKED_BY = (
    "spark.network.crypto.enabled",
    "spark.authenticate.enableSaslEncryption",
    "spark.io.encryption.enabled",
    "spark.ssl.enabled",
    "spark.ssl.rpc.enabled",
)


def encryption_asked(spark: SparkSession) -> bool:
    """Whether Spark's own settings ask that what executors say to each other is encrypted."""
    conf = spark.sparkContext.getConf()
    return any(str(conf.get(key, "false")).lower() == "true" for key in _ASKED_BY)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, both as PEM."""

    public: str
    private: str = field(repr=False)

    @classmethod
    def fresh(cls, spark: SparkSession) -> Certificate:
        """A new one, made by the keytool of the driver's own Java: Python's library makes none.

        Raises:
            MissingError: if that Java has no keytool.
        """
        jvm: Any = spark._jvm  # noqa: SLF001 - the only way to the key that keytool keeps
        keytool = Path(jvm.System.getProperty("java.home")) / "bin" / "keytool"
        password = secrets.token_urlsafe(24)
        with tempfile.TemporaryDirectory() as folder:
            store = f"{folder}/ring.p12"
            try:
                subprocess.run(  # noqa: S603 - a program of the JVM that runs already
                    [str(keytool), "-genkeypair", "-alias", _ALIAS, "-dname", "CN=recpipe",
                     "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "366",
                     "-storetype", "PKCS12", "-keystore", store, "-storepass:env", "RING_STORE"],
                    env={**os.environ, "RING_STORE": password},
                    capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
                )  # fmt: skip
            except (OSError, subprocess.CalledProcessError) as error:
                said = getattr(error, "stdout", "") or str(error)
                raise MissingError(
                    f"{keytool} made no certificate: {said.strip()}",
                    hint="install a whole Java runtime, or set sgd.exchange to spark",
                ) from error
            characters = _characters(spark, password)
            keys = jvm.java.security.KeyStore.getInstance("PKCS12")
            stream = jvm.java.io.FileInputStream(store)
            try:
                keys.load(stream, characters)
            finally:
                stream.close()
        return cls(
            _pem(spark, "CERTIFICATE", keys.getCertificate(_ALIAS)),
            _pem(spark, "PRIVATE KEY", keys.getKey(_ALIAS, characters)),
        )

    def context(self, *, server: bool) -> ssl.SSLContext:
        """Both ends show the certificate and ask for it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # It is one for all hosts: whoever has its key is one of the fit.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.public)
        # Python reads a key from a file only; nobody else can, and it is gone at once.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(self.private + self.public)
            file.flush()
            context.load_cert_chain(file.name)
        return context


def _characters(spark: SparkSession, text: str) -> Any:
    """A Java char[], which no string of Python's becomes by itself."""
    gateway: Any = spark.sparkContext._gateway  # noqa: SLF001 - as above
    characters = gateway.new_array(gateway.jvm.char, len(text))
    for at, character in enumerate(text):
        characters[at] = character
    return characters


_TYPES = {"CERTIFICATE": "java.security.cert.Certificate", "PRIVATE KEY": "java.security.Key"}


def _pem(spark: SparkSession, kind: str, held: Any) -> str:
    gateway: Any = spark.sparkContext._gateway  # noqa: SLF001 - as above
    java = gateway.jvm.java.lang
    # Their classes are Java's own secret, and only by their public types may they be called.
    encoded = java.Class.forName(_TYPES[kind]).getMethod(
        "getEncoded", gateway.new_array(java.Class, 0)
    )
    der = bytes(encoded.invoke(held, gateway.new_array(java.Object, 0)))
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(der).decode()}-----END {kind}-----\n"
