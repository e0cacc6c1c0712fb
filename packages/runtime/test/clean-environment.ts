import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Connection } from "@jetrpc/runtime";
import { type ConnectOptions, connect } from "@jetrpc/runtime/node";
import { afterAll, afterEach, beforeEach } from "vitest";

const isOurs = (name: string) => /^(NATS|JETRPC)_/.test(name);

/**
 * Runs each test of a file in a folder of its own, without any of our variables,
 * and closes what it connects.
 */
export function useCleanEnvironment() {
  const folder = mkdtempSync(join(tmpdir(), "jetrpc-connect-"));
  const workingFolder = process.cwd();
  const before = Object.entries(process.env).filter(([name]) => isOurs(name));
  const open: Connection[] = [];
  const clean = () => {
    for (const name of Object.keys(process.env).filter(isOurs)) {
      delete process.env[name];
    }
  };

  beforeEach(() => {
    clean();
    process.chdir(folder);
  });
  afterEach(async () => {
    clean();
    rmSync(join(folder, ".env"), { recursive: true, force: true });
    Object.assign(process.env, Object.fromEntries(before));
    process.chdir(workingFolder);
    await Promise.all(open.splice(0).map((each) => each.close()));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  return {
    folder,
    /** Connects with these variables, and does a round trip. */
    async connect(variables: Record<string, string>, options?: ConnectOptions) {
      Object.assign(process.env, variables);
      try {
        const connection = await connect(options);
        open.push(connection);
        await connection.nats.flush();
        return connection;
      } finally {
        clean();
      }
    },
  };
}
