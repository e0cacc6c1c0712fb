import { createPrivateKey, X509Certificate } from "node:crypto";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import type { TlsOptions } from "@nats-io/transport-node";
import { type Environment, invalid, readNamed } from "./environment.js";
import type { Servers } from "./servers.js";

/**
 * The TLS options that environment and URLs say, or undefined when they demand no
 * TLS. The NATS client reads the files anew for each connect, as certificates are
 * renewed. Throws InvalidArgument when a file is not what it should be.
 */
export function readTls(servers: Servers, environment: Environment): TlsOptions | undefined {
  const { NATS_TLS_CA: caFile, NATS_TLS_CERT: certFile, NATS_TLS_KEY: keyFile } = environment;
  if (Boolean(certFile) !== Boolean(keyFile)) {
    throw invalid("NATS_TLS_CERT and NATS_TLS_KEY go together: set both or none");
  }
  if (caFile) {
    readCertificate("NATS_TLS_CA", caFile);
  }
  if (certFile && keyFile) {
    const certificate = readCertificate("NATS_TLS_CERT", certFile);
    if (!certificate.checkPrivateKey(readKey("NATS_TLS_KEY", keyFile))) {
      throw invalid(`the key ${keyFile} (NATS_TLS_KEY) is not that of the certificate ${certFile}`);
    }
  }
  if (!servers.isTls && !caFile && !certFile) {
    return undefined;
  }
  return {
    ...(caFile && { caFile }),
    ...(certFile && keyFile && { certFile, keyFile }),
  };
}

/**
 * Takes the certificates of the servers that were asked for. By itself, the NATS
 * client checks that of a server whose IP address is given for `localhost`.
 */
export function identityCheck(servers: Servers) {
  return {
    checkServerIdentity(_host: string, certificate: PeerCertificate): Error | undefined {
      const errors = servers.hosts.map((host) => checkServerIdentity(host, certificate));
      return errors.includes(undefined) ? undefined : errors[0];
    },
  };
}

function readCertificate(variable: string, path: string): X509Certificate {
  const text = readNamed(variable, path);
  try {
    return new X509Certificate(text);
  } catch (cause) {
    throw invalid(`${variable} names ${path}, which is no certificate in PEM`, cause);
  }
}

function readKey(variable: string, path: string) {
  const text = readNamed(variable, path);
  try {
    return createPrivateKey(text);
  } catch (cause) {
    throw invalid(
      `${variable} names ${path}, which is no private key in PEM without a passphrase`,
      cause,
    );
  }
}
