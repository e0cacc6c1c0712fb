import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer as createPlainServer, type Server, type ServerOptions } from "node:http";
import { createServer, type Server as TlsServer } from "node:https";
import { createSecureContext } from "node:tls";
import { Code, ConnectError } from "@connectrpc/connect";

/** What the gateway shows itself with by TLS. */
export interface TlsOptions {
  /** Certificate, and those between it and its authority: PEM text, or the path of a file. */
  readonly cert: string;
  /** Its private key, without a password: PEM text, or the path of a file. */
  readonly key: string;
}

type Pem = { readonly cert: string; readonly key: string };

/** How often files are looked at, in ms: they may be links, whose changes nobody tells. */
const lookMs = 5_000;

/** A certificate and its key, which are read again when their files change. */
export class TlsFiles {
  private timer: NodeJS.Timeout | undefined;
  private pem: Pem;
  /** Why files could not be used: it is said once. */
  private refused = "";

  /** Throws InvalidArgument when a file cannot be read, or the key is not that of the certificate. */
  constructor(
    private readonly options: TlsOptions,
    private readonly log: (message: string) => void,
  ) {
    this.pem = this.read();
  }

  /** A server that shows the certificate, and offers HTTP/2 beside HTTP/1.1. */
  createServer(options: ServerOptions & { handshakeTimeout: number }): Server {
    const ALPNProtocols = ["h2", "http/1.1"];
    const server = createServer({ ...options, ...this.pem, ALPNProtocols });
    // Nothing can be said to a client that has not agreed on how to speak.
    server.removeAllListeners("tlsClientError");
    server.on("tlsClientError", (_error, socket) => socket.destroy());
    this.timer = setInterval(() => this.look(server), lookMs).unref();
    return server as unknown as Server;
  }

  /** Looks at the files no more. */
  close(): void {
    clearInterval(this.timer);
  }

  private look(server: TlsServer): void {
    try {
      const pem = this.read();
      if (pem.cert !== this.pem.cert || pem.key !== this.pem.key) {
        server.setSecureContext(pem);
        this.pem = pem;
        this.log(`tls: another certificate, valid until ${new X509Certificate(pem.cert).validTo}`);
      }
      this.refused = "";
    } catch (error) {
      // One file may be there before the other.
      const { rawMessage } = ConnectError.from(error);
      if (rawMessage !== this.refused) {
        this.refused = rawMessage;
        this.log(`it goes on with the certificate that it has: ${rawMessage}`);
      }
    }
  }

  private read(): Pem {
    const pem = { cert: textOf("cert", this.options.cert), key: textOf("key", this.options.key) };
    try {
      createSecureContext(pem);
    } catch (cause) {
      const text = `tls: the certificate and the key cannot be used together: ${(cause as Error).message}`;
      throw new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
    }
    return pem;
  }
}

function textOf(name: keyof TlsOptions, option: string): string {
  if (option.includes("-----BEGIN ")) {
    return option;
  }
  try {
    return readFileSync(option, "utf8");
  } catch (cause) {
    const text = `tls: ${name} cannot be read: ${(cause as Error).message}`;
    throw new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
  }
}

/** A server of HTTP/1.1, with TLS where there are files for it. */
export function createHttpServer(
  tls: TlsFiles | undefined,
  options: ServerOptions & { handshakeTimeout: number },
): Server {
  return tls?.createServer(options) ?? createPlainServer(options);
}
