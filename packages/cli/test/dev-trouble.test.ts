import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { ProcessGroups } from "../src/dev/process-groups.js";
import {
  bare,
  bin,
  type Dev,
  Folder,
  killAll,
  processesOf,
  Repository,
  startDev,
  startWithConsole,
} from "./dev-support.js";

/** Says which version of it runs. */
const worker = (version: string) => `console.log("here, version ${version}");
setInterval(() => {}, 1000);
`;

/** False where the system allows no user namespaces, and this is not CI. */
const hasNamespaces =
  spawnSync("unshare", ["--user", "--map-root-user", "true"]).status === 0 ||
  process.env["CI"] !== undefined;

const run = ["--worker", "node worker.mjs"];

async function folderWith(files: Record<string, string>, name?: string): Promise<Folder> {
  const own = new Folder(name);
  onTestFinished(() => own.remove());
  await own.create();
  for (const [path, text] of Object.entries(files)) {
    own.write(path, text);
  }
  return own;
}

/** Saves as vim and others do: the new file takes the place of the old one. */
function saveByRename(own: Folder, path: string, text: string): void {
  own.write(`${path}~new`, text);
  renameSync(join(own.folder, path), join(own.folder, `${path}~`));
  renameSync(join(own.folder, `${path}~new`), join(own.folder, path));
  rmSync(join(own.folder, `${path}~`));
}

const endOf = async (dev: Dev) => {
  dev.child.kill("SIGINT");
  expect(await dev.ended).toEqual([0, null]);
};

describe.runIf(process.platform === "linux")("jetrpc dev", { timeout: 600_000 }, () => {
  afterEach(killAll);

  test("runs once in a folder, by whatever path, and again when the first was killed", async () => {
    const own = await folderWith({ "worker.mjs": worker("1") });
    const link = `${own.folder}-link`;
    symlinkSync(own.folder, link);
    const first = startDev(own.folder, ...run);
    await first.hears(/version 1/);
    const second = startDev(link, ...run);
    expect(await second.ended).toEqual([1, null]);
    expect(second.output).toContain(`runs in this folder already (process ${first.child.pid})`);
    process.kill(first.child.pid as number, "SIGSTOP");
    const third = startDev(own.folder, ...run);
    expect(await third.ended).toEqual([1, null]);
    expect(third.output).toContain("runs in this folder already (it is suspended)");
    first.child.kill("SIGKILL");
    await first.ended;
    await first.noneIsLeft();
    await startDev(link, ...run).hears(/version 1/);
  });

  test("two that start at once share a server, and who did not start it hears of its end", async () => {
    const folders = [
      await folderWith({ "worker.mjs": worker("1") }),
      await folderWith({ "worker.mjs": worker("2") }),
    ];
    const [{ url } = { url: "" }] = folders;
    const devs = folders.map((own) => {
      own.serveAt(url);
      return startDev(own.folder, ...run);
    });
    await Promise.all(devs.map((dev) => dev.hears(/here, version/)));
    const [owner, other] = devs.sort((dev) => (dev.output.includes("is running at") ? -1 : 1));
    expect(owner?.output).toContain("is running at");
    expect(other?.output).toContain("is used");
    await endOf(owner as Dev);
    await other?.hears(/nats-server at 127.0.0.1:\d+ is gone: start it again/);
    await using _back = await startNats({ port: Number(new URL(url).port) });
    await other?.hears(/nats-server at 127.0.0.1:\d+ is back/);
    await endOf(other as Dev);
  });

  test("a failure that repeats itself is told once, and again after a change", async () => {
    const failing = `console.log("begins"); throw new Error("no database");`;
    const own = await folderWith({ "worker.mjs": failing });
    const dev = startDev(own.folder, ...run);
    await dev.hears(/ended \(exit code 1\): starts again in 1 s, or when a file changes/);
    await dev.hears(/ended as before: starts again in 2 s, or when a file changes/);
    await dev.hears(/ended as before: starts again in 4 s/);
    expect(dev.output.match(/Error: no database/g)).toHaveLength(1);
    own.write("worker.mjs", failing);
    await dev.hears(/Error: no database/);
    own.write("worker.mjs", failing.replace("database", "cache"));
    await dev.hears(/Error: no cache/);
    own.write("worker.mjs", worker("2"));
    await dev.hears(/version 2/);
  });

  test("what says the same as before its end, and goes on, is shown", async () => {
    const own = await folderWith({
      "worker.mjs": `import { existsSync, writeFileSync } from "node:fs";
console.log("begins");
if (!existsSync("tried")) {
  writeFileSync("tried", "");
  process.exit(1);
}
setInterval(() => {}, 1000);`,
    });
    const dev = startDev(own.folder, ...run);
    await dev.hears(/begins/);
    await dev.hears(/ended \(exit code 1\)/);
    await dev.hears(/begins/);
  });

  test("a file that is saved ten times in a second leaves one worker, of the last version", async () => {
    const own = await folderWith({ "worker.mjs": worker("0") });
    const dev = startDev(own.folder, "--worker", "exec node worker.mjs");
    await dev.hears(/version 0/);
    const before = dev.processes().length;
    for (let version = 1; version <= 10; version++) {
      own.write("worker.mjs", worker(`${version}`));
      await new Promise((resolve) => setTimeout(resolve, 80));
    }
    await dev.hears(/version 10/);
    await expect.poll(() => dev.processes().length).toBe(before);
    expect(dev.output).not.toMatch(/ more changed/);
  });

  test("a change at once after the start is seen, also where there is much to watch", async () => {
    const many = Object.fromEntries(
      Array.from({ length: 3_000 }, (_, number) => [`src/${number % 300}/${number}.mjs`, ""]),
    );
    const path = "src/299/a/b/c/d/worker.mjs";
    const own = await folderWith({ ...many, [path]: worker("1") });
    const dev = startDev(own.folder, "--worker", `node ${path}`);
    await dev.hears(/version 1/);
    own.write(path, worker("2"));
    await dev.hears(/version 2/);
  });

  test("a worker that does not heed SIGTERM is killed, and then started anew", async () => {
    const stubborn = `process.on("SIGTERM", () => {});\n`;
    const own = await folderWith({ "worker.mjs": stubborn + worker("1") });
    const dev = startDev(own.folder, ...run);
    await dev.hears(/version 1/);
    own.write("worker.mjs", stubborn + worker("2"));
    await dev.hears(/worker +│ finishes what it does, for 35 s at most/);
    await dev.hears(/worker +! has not ended within 35 s: it is killed/);
    await dev.hears(/version 2/);
  });

  test("a group counts as ended also where nobody notices the end of its processes", async () => {
    const groups = new ProcessGroups();
    onTestFinished(() => groups.close());
    // The parent of a process leaves the group, and does not ask how it ended.
    const careless = `perl -e '$| = 1; if (fork) { setpgrp(0, 0); print "$$\\n"; sleep 1000 }'`;
    const group = groups.start(`${careless} & trap exit TERM; sleep 1000 & wait`, process.env);
    const [pid] = await once(group.stdout, "data");
    onTestFinished(() => void process.kill(Number(pid), "SIGKILL"));
    group.terminate();
    await group.ended;
  });

  // `script` of util-linux runs a command in a terminal of its own.
  test.runIf(existsSync("/usr/bin/script"))(
    "lets workers finish when its terminal is closed",
    async () => {
      const own = await folderWith({
        "worker.mjs": `import { writeFileSync } from "node:fs";
process.on("SIGTERM", () => setTimeout(() => {
  writeFileSync("drained.txt", "");
  process.exit();
}, 300));
setInterval(() => console.log("at work"), 20);`,
      });
      const mark = randomUUID();
      const command = `'${process.execPath}' '${bin}' dev --no-console --worker 'node worker.mjs'`;
      const child = spawn("script", ["--quiet", "--flush", "--command", command, "/dev/null"], {
        cwd: own.folder,
        env: { PATH: bare, JETRPC_TEST_MARK: mark },
        stdio: ["pipe", "pipe", "inherit"],
      });
      let output = "";
      child.stdout.on("data", (chunk) => {
        output += chunk;
      });
      await expect.poll(() => output).toContain("at work");
      child.kill("SIGKILL");
      await expect.poll(() => processesOf(mark)).toEqual([]);
      expect(existsSync(join(own.folder, "drained.txt"))).toBe(true);
    },
  );

  test("leaves nothing of what it runs when it is killed", async () => {
    const own = await folderWith({
      "worker.mjs": worker("1"),
      "package.json": JSON.stringify({
        scripts: {
          worker: "npm run inner",
          inner: "node worker.mjs",
          "dev:web": "node worker.mjs & node worker.mjs; wait",
        },
      }),
    });
    const dev = startWithConsole(own.folder);
    await dev.hears(/console +│ the console is at/);
    await expect.poll(() => dev.output.match(/here, version/g)).toHaveLength(3);
    dev.child.kill("SIGKILL");
    await dev.ended;
    await dev.noneIsLeft();
  });

  test("runs in a folder whose name has spaces and quotes, with a .env of Windows", async () => {
    const own = await folderWith({ "worker.mjs": worker("1") }, `it's "my app" $HOME`);
    own.write(".env", `\uFEFFNATS_URL=${own.url}\r\nOTHER=1\r\n`);
    const dev = startWithConsole(own.folder, ...run);
    await dev.hears(/version 1/);
    await expect.poll(() => dev.output).toMatch(/console +│ the console is at/);
    own.write("worker.mjs", worker("2"));
    await dev.hears(/version 2/);
    const connection = await connect({ nats: { servers: own.url } });
    await connection.close();
    await endOf(dev);
  });

  test("sees changes of folders that --watch names in any way, however editors save", async () => {
    const own = await folderWith({
      "src/worker.mjs": worker("1"),
      "other/module.mjs": "",
      "tools/tool.mjs": "",
    });
    const watched = ["--watch", "src/", "--watch", join(own.folder, "other")];
    const dev = startDev(own.folder, "--worker", "node src/worker.mjs", ...watched);
    await dev.hears(/version 1/);
    for (const version of ["2", "3"]) {
      saveByRename(own, "src/worker.mjs", worker(version));
      await dev.hears(/restarting workers: src\/worker.mjs changed/);
      await dev.hears(new RegExp(`version ${version}`));
    }
    own.write("other/module.mjs", "// changed");
    await dev.hears(/restarting workers: other\/module.mjs changed/);
    for (const value of ["1", "2"]) {
      saveByRename(own, ".env", `NATS_URL=${own.url}\nVALUE=${value}\n`);
      await dev.hears(/restarting workers: .env changed/);
      await dev.hears(/version 3/);
    }
    // As `git checkout` of a branch without it, and back.
    rmSync(join(own.folder, "src"), { recursive: true });
    await dev.hears(/restarting workers: src\/worker.mjs changed/);
    await dev.hears(/ended \(exit code 1\)/);
    mkdirSync(join(own.folder, "src"));
    own.write("src/worker.mjs", worker("4"));
    await dev.hears(/version 4/);
    own.write("src/worker.mjs", worker("5"));
    // The file, or the folder that came back with it.
    await dev.hears(/restarting workers: src(\/worker.mjs)? changed/);
    await dev.hears(/version 5/);
    expect(dev.output).not.toContain("tools");
  });

  test("says of settings that are read once that they have changed", async () => {
    const scripts = { worker: "node worker.mjs" };
    const own = await folderWith({
      "worker.mjs": worker("1"),
      "package.json": JSON.stringify({ scripts }),
    });
    const dev = startDev(own.folder);
    await dev.hears(/version 1/);
    const more = { ...scripts, "worker:two": "node two.mjs" };
    own.write("package.json", JSON.stringify({ scripts: more, version: "1.0.0" }));
    await dev.hears(/! the scripts of package.json changed: end this by Ctrl-C and start it again/);
    own.write(".env", "NATS_URL=nats://127.0.0.1:1\n");
    await dev.hears(/! NATS_URL changed: end this/);
    own.write("package.json", "{");
    await dev.hears(/! package.json is no JSON/);
    own.write("package.json", JSON.stringify({ scripts, version: "2.0.0" }));
    own.write("worker.mjs", worker("2"));
    await dev.hears(/version 2/);
    expect(dev.output.match(/scripts of package.json changed/g)).toHaveLength(1);
  });

  test("a mistake in a .proto at the start is mended by saving it", async () => {
    const own = new Repository();
    onTestFinished(() => own.remove());
    await own.create();
    own.replace("proto/greet/v1/greet.proto", "string greeting = 1;", "strin greeting = 1;");
    const dev = startDev(own.folder);
    await dev.hears(/generate : proto\/greet\/v1\/greet.proto:\d+:\d+:.*strin/);
    await dev.hears(/workers start when that is mended/);
    own.replace("proto/greet/v1/greet.proto", "strin greeting = 1;", "string greeting = 1;");
    await dev.hears(/worker +│ ready/);
    // One that the generator finds, not buf: what was generated before stays.
    own.replace("proto/greet/v1/greet.proto", `stream: "GREET"`, `stream: "GREET LOG"`);
    await dev.hears(/generate :.*GREET LOG/);
    await dev.hears(/the workers go on as they are/);
    own.write("src/greeter.ts", own.read("src/greeter.ts"));
    await dev.hears(/restarting workers/);
    await dev.hears(/worker +│ ready/);
  });

  test("a port of a script that is in use is told once, and all else goes on", async () => {
    const other = createServer();
    await once(other.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => void other.close());
    const { port } = other.address() as { port: number };
    const own = await folderWith({
      "worker.mjs": worker("1"),
      "package.json": JSON.stringify({
        scripts: {
          worker: "node worker.mjs",
          "dev:gateway": `jetrpc gateway --listen 127.0.0.1:${port}`,
        },
      }),
    });
    const dev = startDev(own.folder);
    await dev.hears(new RegExp(`gateway +: jetrpc: .*${port}.* in use`));
    await dev.hears(/gateway +! ended \(exit code 1\): starts again in 1 s/);
    await expect.poll(() => dev.output).toMatch(/worker +│ here, version 1/);
    other.close();
    await expect.poll(() => dev.output).toContain(`http://127.0.0.1:${port}`);
    await endOf(dev);
  });

  test("needs no stdin", async () => {
    const own = await folderWith({ "worker.mjs": worker("1") });
    const closed = `exec "$@" <&-`;
    const args = ["-c", closed, "sh", process.execPath, bin, "dev", "--no-console", ...run];
    const child = spawn("sh", args, {
      cwd: own.folder,
      env: { PATH: bare },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    await expect.poll(() => output).toContain("version 1");
    const ended = once(child, "close");
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  });

  test("a generator that writes its own input does not begin again and again", async () => {
    const own = await folderWith({
      "worker.mjs": worker("1"),
      "buf.yaml": "version: v2\n",
      "buf.gen.yaml": "version: v2\n",
      "make.mjs": `import { writeFileSync } from "node:fs";
writeFileSync("made.proto", 'syntax = "proto3";');
console.log("made");`,
      "package.json": JSON.stringify({
        scripts: { generate: "node make.mjs", worker: "node worker.mjs" },
      }),
    });
    const dev = startDev(own.folder);
    await dev.hears(/version 1/);
    // Once more, when the file is there that was not.
    await dev.hears(/restarting workers: .proto files changed/);
    await dev.hears(/version 1/);
    own.write("worker.mjs", worker("2"));
    await dev.hears(/restarting workers: worker.mjs changed/);
    await dev.hears(/version 2/);
    expect(dev.output.match(/generate +│ made/g)).toHaveLength(2);
  });

  // A user namespace has a limit of its own.
  test.runIf(hasNamespaces)(
    "goes on where the machine watches too many files, and says so once",
    async () => {
      const own = await folderWith({ "worker.mjs": worker("1"), "a/a.ts": "", "b/b.ts": "" });
      const command = `echo 3 >/proc/sys/user/max_inotify_watches && exec "$@"`;
      const args = ["-c", command, "sh", process.execPath, bin, "dev", "--no-console", ...run];
      const child = spawn("unshare", ["--user", "--map-root-user", "sh", ...args], {
        cwd: own.folder,
        env: { PATH: bare },
        stdio: ["ignore", "pipe", "pipe"],
      });
      onTestFinished(() => void child.kill("SIGKILL"));
      let output = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk) => {
          output += chunk;
        });
      }
      await expect.poll(() => output).toContain("version 1");
      expect(output.match(/fs.inotify.max_user_watches/g)).toHaveLength(1);
      const closed = once(child, "close");
      child.kill("SIGINT");
      expect(await closed).toEqual([0, null]);
    },
  );
});
