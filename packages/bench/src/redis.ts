import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";

/** A Redis that runs. */
export interface RedisServer {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * Starts a Redis of one's own on a free port, which stores nothing on disk: as fast as it gets.
 * It ends with this process. Rejects when there is no redis-server on PATH.
 */
export async function startRedis(): Promise<RedisServer> {
  const port = await freePort();
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"];
  await once(spawn("redis-server", ["--version"], { stdio: "ignore" }), "exit").catch((cause) => {
    throw new Error("no redis-server is on PATH: apt-get install redis-server", { cause });
  });
  // Ends when the pipe does: with this process, however that goes.
  const shell = spawn(
    "sh",
    ["-c", 'redis-server "$@" & read -r _; kill -9 $!; wait', "redis-server", ...args],
    { stdio: ["pipe", "ignore", "ignore"] },
  );
  const ended = once(shell, "exit");
  const probe = new Redis(port, { lazyConnect: true, retryStrategy: () => 20 });
  probe.on("error", () => undefined);
  for (;;) {
    try {
      const info = await probe.info("server");
      probe.disconnect();
      return {
        port,
        pid: Number(/process_id:(\d+)/.exec(info)?.[1]),
        async stop() {
          shell.stdin.end();
          await ended;
        },
      };
    } catch {
      await delay(20);
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address ? address.port : 0;
}
