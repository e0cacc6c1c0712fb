import { once } from "node:events";
import { rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError } from "@jetrpc/runtime";

/** How long the process that has a folder may take to say who it is, in ms. It may be suspended. */
const patienceMs = 1_000;

/**
 * Claims this folder for this process, until the process ends or releases it. Throws AlreadyExists
 * when another one has it: two would generate code at once, and share calls between their workers.
 */
export async function claimFolder(): Promise<{ release(): void }> {
  // The same for all its paths. The socket answers as long as the process lives, however it ends.
  const { dev, ino } = statSync(".");
  const path = join(tmpdir(), `jetrpc-dev-${process.getuid?.()}-${dev}-${ino}.sock`);
  const server = createServer((socket) => socket.on("error", () => {}).end(`${process.pid}`));
  server.unref();
  for (;;) {
    try {
      server.listen(path);
      await once(server, "listening");
      // The end of a process closes no server.
      const remove = () => rmSync(path, { force: true });
      process.once("exit", remove);
      const release = () => {
        process.off("exit", remove);
        server.close();
      };
      return { release };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") {
        throw error;
      }
    }
    const holder = await askHolder(path);
    if (holder !== undefined) {
      throw new ConnectError(
        `\`jetrpc dev\` runs in this folder already (${holder}): end it first, or give that one all workers, as --worker is repeatable`,
        Code.AlreadyExists,
      );
    }
    rmSync(path, { force: true });
  }
}

/** Which process answers on a socket; undefined when it is gone. */
async function askHolder(path: string): Promise<string | undefined> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    const [pid] = await once(socket, "data", { signal: AbortSignal.timeout(patienceMs) }).catch(
      () => [],
    );
    return pid === undefined ? "it is suspended" : `process ${pid}`;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}
