import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFileRegistry, type DescService, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type Connection, createClient } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { startNats } from "@jetrpc/testing";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { freePorts } from "../../testing/src/free-ports.js";
import {
  bare,
  bin,
  type Dev,
  killAll,
  Repository,
  startDev,
  startWithConsole,
  top,
} from "./dev-support.js";
import { jetrpcProcess } from "./support.js";

describe.runIf(process.platform === "linux")("jetrpc dev", { timeout: 900_000 }, () => {
  const own = new Repository();
  let dev: Dev;
  let connection: Connection;

  beforeAll(async () => {
    await own.create();
    dev = startDev(own.folder);
    await dev.hears(/worker +│ ready/);
    connection = await connect({ nats: { servers: own.url } });
  }, 600_000);
  afterAll(async () => {
    await connection?.close();
    await killAll();
    own.remove();
  });

  /** Calls a method as the contract describes it by now. */
  const greet = (): Record<string, (request: object) => Promise<Record<string, unknown>>> => {
    const image = fromBinary(
      FileDescriptorSetSchema,
      readFileSync(join(own.folder, "image.binpb")),
    );
    const service = createFileRegistry(image).getService("greet.v1.GreetService") as DescService;
    return createClient(service, connection) as never;
  };
  const describeService = async () => {
    const buf = spawn(join(top, "node_modules/.bin/buf"), ["build", "-o", "image.binpb"], {
      cwd: own.folder,
      stdio: "inherit",
    });
    expect(await once(buf, "close")).toEqual([0, null]);
  };

  test("serves a call, with what it has generated and set up", async () => {
    expect(dev.output).toMatch(/nats-server \S+ is running at .*; nothing is kept/);
    expect(dev.output).toContain("greet.v1.GreetService: 8 to create");
    expect(existsSync(join(own.folder, "gen/greet/v1/index.ts"))).toBe(true);
    await describeService();
    expect(await greet()["hello"]?.({ name: "Ada" })).toMatchObject({ greeting: "Hello, Ada!" });
  });

  test("a running durable call survives a restart of its worker", async () => {
    const letter = createClient(
      createFileRegistry(
        fromBinary(FileDescriptorSetSchema, readFileSync(join(own.folder, "image.binpb"))),
      ).getService("greet.v1.GreetService") as DescService,
      connection,
    ) as unknown as {
      letter: {
        submit(request: object): Promise<{
          progress(): AsyncIterable<unknown>;
          result(): Promise<unknown>;
        }>;
      };
    };
    const call = await letter.letter.submit({ name: "Ada" });
    for await (const _ of call.progress()) {
      break;
    }
    own.replace("src/greeter.ts", "Hello, ", "Good day, ");
    await dev.hears(/restarting workers: src\/greeter.ts changed/);
    expect(await call.result()).toMatchObject({ letter: expect.stringContaining("Dear Ada") });
    await dev.hears(/worker +│ ready/);
    expect(await greet()["hello"]?.({ name: "Ada" })).toMatchObject({ greeting: "Good day, Ada!" });
  });

  test("a mistake in a .proto is shown, and the workers go on", async () => {
    own.replace("proto/greet/v1/greet.proto", "string greeting = 1;", "strin greeting = 1;");
    await dev.hears(/generate : proto\/greet\/v1\/greet.proto:\d+:\d+:.*strin/);
    await dev.hears(/the workers go on as they are/);
    expect(await greet()["hello"]?.({ name: "Ada" })).toMatchObject({ greeting: "Good day, Ada!" });
  });

  test("a method that a .proto gains is served as soon as the worker has it", async () => {
    own.replace("proto/greet/v1/greet.proto", "strin greeting = 1;", "string greeting = 1;");
    own.replace(
      "proto/greet/v1/greet.proto",
      "  // Letter takes",
      "  rpc Shout(HelloRequest) returns (HelloResponse);\n\n  // Letter takes",
    );
    await dev.hears(/apply +│ greet.v1.GreetService: 2 to create/);
    await dev.hears(/worker +│ ready/);
    own.replace(
      "src/greeter.ts",
      "  letter: async",
      "  shout: ({ name }) => ({ greeting: `HELLO $" + "{name}` }),\n  letter: async",
    );
    await dev.hears(/restarting workers: src\/greeter.ts changed/);
    await dev.hears(/worker +│ ready/);
    await describeService();
    expect(await greet()["shout"]?.({ name: "Ada" })).toMatchObject({ greeting: "HELLO Ada" });
  });

  test("a worker that crashes waits for a change", async () => {
    const good = own.read("src/greeter.ts");
    own.write("src/greeter.ts", `throw new Error("a bug at the start");\n${good}`);
    await dev.hears(/worker +: .*a bug at the start/);
    await dev.hears(/worker +! ended \(exit code 1\): starts again in 1 s, or when a file changes/);
    await dev.hears(/starts again in 2 s/);
    own.write("src/greeter.ts", good);
    await dev.hears(/worker +│ ready/);
    expect(await greet()["hello"]?.({ name: "Ada" })).toMatchObject({ greeting: "Good day, Ada!" });
  });

  test("a test that changes restarts nothing, nor does what buf writes", async () => {
    own.write("test/greet.test.ts", "// nothing");
    own.write("gen/other.ts", "// nothing");
    own.write("src/greeter.ts", `${own.read("src/greeter.ts")}\n`);
    await dev.hears(/restarting workers: src\/greeter.ts changed/);
    await dev.hears(/worker +│ ready/);
    expect(dev.output).not.toMatch(/test\/|gen\/other| more changed/);
  });

  test("generated code that somebody has removed is there again after the next change", async () => {
    rmSync(join(own.folder, "gen"), { recursive: true });
    own.write("src/greeter.ts", `${own.read("src/greeter.ts")}\n`);
    await dev.hears(/generate +│ done/);
    await dev.hears(/worker +│ ready/);
    expect(existsSync(join(own.folder, "gen/greet/v1/index.ts"))).toBe(true);
  });

  test("ends clean on Ctrl-C", async () => {
    expect(dev.processes().length).toBeGreaterThan(3);
    await connection.close();
    dev.child.kill("SIGINT");
    expect(await dev.ended).toEqual([0, null]);
    expect(dev.processes()).toEqual([]);
    await expect(connect({ nats: { servers: own.url } })).rejects.toThrow("answers");
  });
});

/** Says that it is there, and does not heed a request to end. */
const stubborn = `process.on("SIGTERM", () => console.log("told"));
console.log("here", process.pid);
setInterval(() => {}, 1000);
`;

describe.runIf(process.platform === "linux")("what jetrpc dev starts", { timeout: 600_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "jetrpc-dev-"));
  const write = (path: string, text: string) => writeFileSync(join(folder, path), text);
  beforeAll(async () => {
    const [port] = await freePorts(1);
    write(".env", `NATS_URL=nats://127.0.0.1:${port}\n`);
    write("worker.mjs", stubborn);
    symlinkSync(join(top, "node_modules"), join(folder, "node_modules"));
  });
  afterEach(killAll);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("ends with it when it is killed, also what does not heed SIGTERM", async () => {
    const dev = startDev(
      folder,
      "--worker",
      "node worker.mjs",
      "--worker",
      "cd . && node worker.mjs",
    );
    await dev.hears(/worker 1 │ here/);
    await expect.poll(() => dev.output).toMatch(/worker 2 │ here/);
    dev.child.kill("SIGKILL");
    await dev.ended;
    await dev.noneIsLeft();
  });

  test("ends at once on the second Ctrl-C", async () => {
    const dev = startDev(folder, "--worker", "node worker.mjs");
    await dev.hears(/worker +│ here/);
    dev.child.kill("SIGINT");
    await dev.hears(/worker +│ told/);
    await expect
      .poll(() => {
        dev.child.kill("SIGINT");
        return dev.child.exitCode;
      })
      .toBe(130);
    await dev.ended;
    await dev.noneIsLeft();
  });

  test("ends when the npm that started it is killed", async () => {
    const [npm, shell] = [`npm_command=exec bash -c '"$@"; true' npm "$@"; true`, "bash"];
    const child = spawn(
      shell,
      [
        "-c",
        npm,
        "bash",
        process.execPath,
        bin,
        "dev",
        "--no-console",
        "--worker",
        "node -e 'setInterval(() => {}, 1000); console.log(`here`)'",
      ],
      { cwd: folder, stdio: ["ignore", "pipe", "inherit"] },
    );
    const closed = once(child, "close");
    for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
      if (String(chunk).includes("here")) {
        break;
      }
    }
    child.stdout.resume();
    child.kill("SIGKILL");
    // Its output closes when the last process has ended that has it.
    await closed;
  });

  test("is drained also behind a shell that ends at once", async () => {
    write(
      "slow.mjs",
      `process.on("SIGTERM", () => setTimeout(() => { console.log("drained"); process.exit(); }, 300));
console.log("here");
setInterval(() => {}, 1000);`,
    );
    const dev = startDev(folder, "--worker", "cd . && node slow.mjs && true");
    await dev.hears(/worker +│ here/);
    dev.child.kill("SIGTERM");
    await dev.ended;
    expect(dev.output).toMatch(/worker +│ drained/);
  });

  test("a server that runs already is used, is not ended, and loses nothing unasked", async () => {
    await using nats = await startNats();
    const own = new Repository();
    onTestFinished(() => own.remove());
    await own.create();
    own.serveAt(nats.url);
    const worker = ["--worker", "node -e 'setInterval(() => {}, 1000)'"];
    const dev = startDev(own.folder, ...worker);
    await dev.hears(/nats-server \S+ is used/);
    await dev.hears(/greet.v1.GreetService: 8 to create/);
    own.replace(
      "proto/greet/v1/greet.proto",
      `"GREET"}`,
      `"GREET" result_retention: {seconds: 60}}`,
    );
    await dev.hears(/! stream GREET_LOG \(destructive\)/);
    await dev.hears(/nothing of greet.v1.GreetService was changed: .*--allow-destructive/);
    dev.child.kill("SIGINT");
    await dev.ended;
    const bold = startDev(own.folder, ...worker, "--allow-destructive");
    await bold.hears(/! stream GREET_LOG \(destructive\)/);
    bold.child.kill("SIGINT");
    await bold.ended;
    expect(bold.output).not.toContain("was changed");
    const connection = await connect({ nats: { servers: nats.url } });
    const { config } = (await connection.nats.request("$JS.API.STREAM.INFO.GREET_LOG")).json() as {
      config: { max_age: number };
    };
    expect(config.max_age).toBe(60e9);
    await connection.close();
  });

  test("the console is among it, also where that of another repository has its port", async () => {
    const other = createServer();
    // It may be taken already.
    await Promise.race([once(other.listen(7420, "127.0.0.1"), "listening"), once(other, "error")]);
    onTestFinished(() => void other.close());
    const dev = startWithConsole(folder, "--worker", "node worker.mjs");
    await dev.hears(/console +│ the console is at http:\/\/127.0.0.1:(?!7420)\d+\/login/);
    expect(dev.output).not.toMatch(/console +!/);
  });

  // `script` of util-linux runs a command in a terminal of its own.
  test.runIf(existsSync("/usr/bin/script"))(
    "Enter makes another address of the console",
    async () => {
      const command = `'${process.execPath}' '${bin}' dev --worker 'node worker.mjs'`;
      const child = spawn("script", ["--quiet", "--flush", "--command", command, "/dev/null"], {
        cwd: folder,
        env: { PATH: bare, NO_COLOR: "1" },
        stdio: ["pipe", "pipe", "inherit"],
      });
      const closed = once(child, "close");
      onTestFinished(() => void child.kill("SIGKILL"));
      let output = "";
      child.stdout.on("data", (chunk) => {
        output += chunk;
      });
      const addresses = () => new Set(output.match(/http:\S+\/login\S+/g)).size;
      await expect.poll(() => output).toContain("Enter makes another one");
      expect(addresses()).toBe(1);
      child.stdin.write("\r");
      await expect.poll(addresses).toBe(2);
      child.stdin.write("\x03");
      await closed;
      expect(output).toContain("ending; Ctrl-C again");
    },
  );

  test("what it generates when Ctrl-C comes is ended without an error", async () => {
    const own = mkdtempSync(join(tmpdir(), "jetrpc-dev-"));
    onTestFinished(() => rmSync(own, { recursive: true, force: true }));
    writeFileSync(join(own, ".env"), readFileSync(join(folder, ".env")));
    writeFileSync(join(own, "buf.yaml"), "version: v2\n");
    writeFileSync(join(own, "buf.gen.yaml"), "version: v2\n");
    const scripts = { generate: "echo generating && sleep 1000", worker: "true" };
    writeFileSync(join(own, "package.json"), JSON.stringify({ scripts }));
    const dev = startDev(own);
    await dev.hears(/generate │ generating/);
    dev.child.kill("SIGINT");
    expect(await dev.ended).toEqual([0, null]);
    expect(dev.output).not.toContain("!");
  });

  test("buf that is not installed is named, and workers wait", async () => {
    const own = mkdtempSync(join(tmpdir(), "jetrpc-dev-"));
    onTestFinished(() => rmSync(own, { recursive: true, force: true }));
    writeFileSync(join(own, ".env"), readFileSync(join(folder, ".env")));
    writeFileSync(join(own, "buf.yaml"), "version: v2\nmodules:\n  - path: proto\n");
    writeFileSync(join(own, "buf.gen.yaml"), "version: v2\nplugins: []\n");
    const dev = startDev(own, "--worker", "echo started");
    await dev.hears(/buf is not installed: run `npm install --save-dev @bufbuild\/buf`/);
    await dev.hears(/workers start when that is mended/);
    expect(dev.output).not.toContain("started");
    dev.child.kill("SIGKILL");
    await dev.ended;
    // Without code to generate the server alone misses the schema.
    rmSync(join(own, "buf.gen.yaml"));
    const other = startDev(own, "--worker", "echo started");
    await other.hears(
      /apply +! buf is not installed: .*, or name an image with JETRPC_DESCRIPTORS\n/,
    );
    await other.hears(/started/);
  });

  test.each([
    [[], 2, /no worker: write a script "worker"/],
    [["--worker", "true", "--watch", "nowhere"], 2, /--watch nowhere: there is no such/],
  ])("refuses %j", async (args, code, stderr) => {
    expect(await jetrpcProcess(["dev", ...args], { cwd: folder })).toMatchObject({
      code,
      stderr: expect.stringMatching(stderr),
    });
  });

  test("refuses a port that something else has, and a server of another machine", async () => {
    const other = createServer((socket) => {
      // Whoever finds no NATS server hangs up.
      socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    await once(other.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => void other.close());
    const { port } = other.address() as { port: number };
    const run = (url: string) =>
      jetrpcProcess(["dev", "--worker", "true"], { cwd: folder, env: { NATS_URL: url } });
    expect(await run(`nats://127.0.0.1:${port}`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`what listens at 127.0.0.1:${port} is no NATS server`),
    });
    expect(await run("nats://127.0.0.1:99999")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("NATS_URL names the port 99999"),
    });
    expect(await run("nats://nats.example.com")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("is not an address of this machine"),
    });
  });
});
