import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { createServer as createVite } from "vite";
import { startWorker, type WorkerProcess } from "../../pdf-demo/worker-process.js";
import { GatewayProcess } from "./gateway-process.js";
import { answerLogin } from "./users.js";

/** All processes of the app. */
export interface Web extends AsyncDisposable {
  /** Address of the page. */
  readonly url: string;
  readonly nats: NatsServer;
  readonly gateway: GatewayProcess;
  /** Those of PDFs. */
  readonly workers: readonly WorkerProcess[];
  /** The one of images. It comes a few seconds later: its models are loaded meanwhile. */
  readonly imageWorker: WorkerProcess;
}

/** Options of {@link startWeb}. */
export interface WebOptions {
  /** Port of the page; 0 for any that is free. */
  port: number;
  /** Environment of the workers, of which there are three. Default: that of this process. */
  env?: NodeJS.ProcessEnv;
}

/** Starts a nats-server, workers, a gateway, and the server of the page. */
export async function startWeb({ port, env = {} }: WebOptions): Promise<Web> {
  const started: AsyncDisposable[] = [];
  const end = async () => {
    for (const one of started.reverse()) {
      await one[Symbol.asyncDispose]();
    }
  };
  const add = <T extends AsyncDisposable>(one: T): T => {
    started.push(one);
    return one;
  };
  try {
    // First of all, as its port may be in use.
    const page = add(await startPage(port));
    const nats = add(await startNats());
    const workers = [
      add(await startWorker(nats.url, { env })),
      add(await startWorker(nats.url, { env })),
    ];
    const imageEnv = { IMAGE_DEVICE: "cpu", IMAGE_PROCESSES: "1", ...env };
    const imageWorker = add(
      await startWorker(nats.url, { service: "image", waits: true, env: imageEnv }),
    );
    const gateway = add(
      new GatewayProcess({
        NATS_URL: nats.url,
        WEB_SECRET: page.secret,
        // People open it by either name.
        WEB_ORIGINS: [page.url, page.url.replace("127.0.0.1", "localhost")].join(),
      }),
    );
    await gateway.start();
    page.tellGateway(gateway.url);
    return { url: page.url, nats, gateway, workers, imageWorker, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}

/**
 * Serves the page by Vite, and its login, which waits for the address of the gateway: a page that
 * was open before comes back as soon as it can. Throws FailedPrecondition when the port is in use.
 */
async function startPage(port: number) {
  const secret = randomBytes(32).toString("base64");
  const server = createServer();
  const vite = await createVite({
    root: join(import.meta.dirname, ".."),
    configFile: false,
    logLevel: "warn",
    server: { middlewareMode: true, hmr: { server } },
  });
  let tellGateway: (url: string) => void = () => undefined;
  const gateway = new Promise<string>((resolve) => {
    tellGateway = resolve;
  });
  const page = {
    url: "",
    secret,
    tellGateway,
    async [Symbol.asyncDispose]() {
      await vite.close();
      server.close();
      server.closeAllConnections();
    },
  };
  server.on("request", (request, response) => {
    const { url } = request;
    if (url?.startsWith("/login?")) {
      void gateway.then((gateway) => answerLogin(url, { secret, gateway }, response));
    } else {
      vite.middlewares(request, response);
    }
  });
  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    await vite.close();
    throw (error as NodeJS.ErrnoException).code === "EADDRINUSE"
      ? new ConnectError(
          `port ${port} is in use: name another one, as in PORT=${port + 1} npm run web`,
          Code.FailedPrecondition,
        )
      : error;
  }
  page.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return page;
}
