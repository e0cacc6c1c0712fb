import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
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
    const nats = add(await startNats());
    const workers = [
      add(await startWorker(nats.url, { env })),
      add(await startWorker(nats.url, { env })),
    ];
    const imageEnv = { IMAGE_DEVICE: "cpu", IMAGE_PROCESSES: "1", ...env };
    const imageWorker = add(
      await startWorker(nats.url, { service: "image", waits: true, env: imageEnv }),
    );
    const page = add(await startPage(port));
    const gateway = add(
      new GatewayProcess({ NATS_URL: nats.url, WEB_SECRET: page.secret, WEB_ORIGIN: page.url }),
    );
    await gateway.start();
    page.gateway = gateway.url;
    return { url: page.url, nats, gateway, workers, imageWorker, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Serves the page by Vite, and its login. */
async function startPage(port: number) {
  const secret = randomBytes(32).toString("base64");
  const server = createServer();
  const vite = await createVite({
    root: join(import.meta.dirname, ".."),
    configFile: false,
    logLevel: "warn",
    server: { middlewareMode: true, hmr: { server } },
  });
  const page = {
    url: "",
    secret,
    gateway: "",
    async [Symbol.asyncDispose]() {
      await vite.close();
      server.close();
      server.closeAllConnections();
    },
  };
  server.on("request", (request, response) => {
    if (request.url?.startsWith("/login?")) {
      void answerLogin(request.url, page, response);
    } else {
      vite.middlewares(request, response);
    }
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  page.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return page;
}
