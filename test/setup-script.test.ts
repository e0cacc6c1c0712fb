import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findNatsServer } from "@jetrpc/testing";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { freePorts } from "../packages/testing/src/free-ports.js";
import { pinnedRelease } from "../packages/testing/src/nats-release.js";
import { oldestVersion } from "../packages/testing/src/server-version.js";
import { type Finished, run } from "./run.js";

const folder = join(import.meta.dirname, "../infrastructure/nats-server");
let server: string;
/** Nobody answers there. */
let refused: string;

beforeAll(async () => {
  server = (await findNatsServer()).path;
  refused = `http://127.0.0.1:${(await freePorts(1))[0]}`;
}, 600_000);

function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "jetrpc-setup-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The script below a prefix: the same but for the user and the service. */
function setup(prefix: string, args: string[] = [], env: NodeJS.ProcessEnv = {}) {
  const nowhere = ["--releases-url", refused, "--debian-mirror", refused];
  const all = ["--prefix", prefix, "--max-disk", "10MB", ...nowhere, ...args];
  return run(join(folder, "setup.sh"), all, { NATS_SERVER_BIN: server, ...env });
}

async function free(): Promise<string[]> {
  const [port, monitor] = await freePorts(2);
  return ["--listen", "127.0.0.1", "--port", `${port}`, "--monitor-port", `${monitor}`];
}

function config(prefix: string, file = "nats-server.conf"): string {
  return readFileSync(join(prefix, "etc/jetrpc-nats", file), "utf8");
}

function succeeded(done: Finished): Finished {
  expect(done, done.stderr).toMatchObject({ code: 0 });
  return done;
}

test("the release is the one of @jetrpc/testing", () => {
  const known = readFileSync(join(folder, "lib/nats-release.sh"), "utf8");
  const value = (name: RegExp) => name.exec(known)?.[1];
  expect(value(/^oldest_version=(.*)$/m)).toBe(oldestVersion);
  expect(value(/^release_version=(.*)$/m)).toBe(pinnedRelease.version);
  expect(value(/\[amd64\]=(.*)$/m)).toBe(pinnedRelease.sha256["linux-x64"]);
  expect(value(/\[arm64\]=(.*)$/m)).toBe(pinnedRelease.sha256["linux-arm64"]);
});

describe("wrong usage ends with code 2, and nothing is done", () => {
  test.each<[string, string[], string]>([
    ["an unknown option", ["--colour"], "--colour is no option"],
    ["no option at all", ["token"], '"token" is no option'],
    ["an option without its value", ["--port"], "--port needs a value"],
    ["no port", ["--port", "70000"], "--port 70000 is no port"],
    ["one port for two", ["--port", "8222"], "--port 8222 is used|--monitor-port 8222 is used"],
    ["no size", ["--max-disk", "much"], "--max-disk much is no size: 500MB, say, or 10GB"],
    ["no address", ["--listen", "example.com"], "--listen example.com is no address"],
    ["a relative folder", ["--data", "data"], "--data data: a whole path"],
    ["what would end a string", ["--name", 'a"b'], '--name a"b: letters, digits'],
    ["no interval", ["--sync", "often"], '--sync often is neither "always" nor a time'],
    ["half of a certificate", ["--tls-cert", "/dev/null"], "no file that can be read"],
    ["half of a cluster", ["--cluster", "c"], "--cluster and --routes go together"],
    ["a CA for each server", ["--cluster", "c", "--routes", "a", "--tls"], "certificates.sh"],
    ["--purge alone", ["--purge"], "--purge goes with --uninstall"],
  ])("%s", async (_, args, message) => {
    const prefix = join(temporaryFolder(), "prefix");
    const { code, stderr, stdout } = await setup(prefix, args);
    expect(code).toBeGreaterThan(0);
    expect(stderr).toMatch(new RegExp(message.replace(/[()]/g, "\\$&")));
    expect(stdout).toBe("");
    expect(existsSync(prefix)).toBe(false);
  });
});

describe("what is wrong is said before anything is done", () => {
  async function fails(args: string[], message: RegExp, env?: NodeJS.ProcessEnv): Promise<void> {
    const prefix = join(temporaryFolder(), "prefix");
    const { code, stderr } = await setup(prefix, [...(await free()), ...args], env);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(existsSync(prefix)).toBe(false);
  }

  test("a port in use", async () => {
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    onTestFinished(() => void listener.close());
    const { port } = listener.address() as { port: number };
    const other = await freePorts(1);
    const args = ["--port", `${port}`, "--monitor-port", `${other[0]}`];
    await fails(
      args,
      new RegExp(`port ${port} is in use: end what listens there, or give .* --port`),
    );
  });

  test("a folder that cannot be written to", async () => {
    const file = join(temporaryFolder(), "file");
    writeFileSync(file, "");
    await fails(["--data", `${file}/data`], /--data \S+: \S+\/file cannot be written to/);
  });

  test("a disk that is too small", () =>
    fails(["--max-disk", "900TB"], /free for .*, less than --max-disk 900TB/));

  test("no nats-server anywhere, with each reason and the way out", () =>
    fails(
      [],
      new RegExp(
        "NATS_SERVER_BIN: /no/server is no executable file\\n" +
          "(.*\\n)*  PATH: .*\\n" +
          "(.*\\n)*  release: .* cannot be downloaded: .*\\n" +
          "(.*\\n)*  Debian: .*\\n" +
          "setup\\.sh: no nats-server 2\\.12 or newer was found\\. Download one",
      ),
      { NATS_SERVER_BIN: "/no/server" },
    ));

  test("a nats-server that is too old, and another program", async () => {
    const scripts = temporaryFolder();
    for (const [says, reason] of [
      ["nats-server: v2.11.9", /is nats-server 2\.11\.9, older than 2\.12/],
      ["1.2.3", /is no nats-server: it says "1\.2\.3"/],
    ] as const) {
      const path = join(scripts, "nats-server");
      writeFileSync(path, `#!/bin/sh\necho "${says}"\n`);
      chmodSync(path, 0o755);
      await fails([], reason, { NATS_SERVER_BIN: path });
    }
  });

  test("users that the server does not understand", async () => {
    const users = join(temporaryFolder(), "users.conf");
    writeFileSync(users, "authorization { users: [ { user: a, password: b ] }");
    await fails(
      ["--users", users],
      /the server refuses this configuration: .*'users\.conf', Parse error on line 1/,
    );
  });

  describe("certificates", () => {
    async function certificate(name: string, ...hosts: string[]): Promise<string> {
      const path = temporaryFolder();
      succeeded(await run(join(folder, "certificates.sh"), [path, name, ...hosts]));
      return path;
    }
    const given = (cert: string, key: string, ca: string) =>
      ["--host", "nats.test"].concat(["--tls-cert", cert, "--tls-key", key, "--tls-ca", ca]);

    test("a key of another one", async () => {
      const [one, two] = [await certificate("a", "nats.test"), await certificate("a", "nats.test")];
      const args = given(`${one}/a.pem`, `${two}/a-key.pem`, `${one}/ca.pem`);
      await fails(args, /a-key\.pem is not the key of .*a\.pem/);
    });

    test("another CA, another host, and no certificate at all", async () => {
      const [one, two] = [await certificate("a", "nats.test"), await certificate("a", "b.test")];
      const of = (path: string, ca: string) => given(`${path}/a.pem`, `${path}/a-key.pem`, ca);
      await fails(of(one, `${two}/ca.pem`), /a\.pem is not signed by .*ca\.pem: error/);
      await fails(of(two, `${two}/ca.pem`), /is not for nats\.test, so clients would refuse it/);
      const none = given("/etc/hostname", `${one}/a-key.pem`, `${one}/ca.pem`);
      await fails(none, /\/etc\/hostname is no certificate in PEM/);
    });

    test("an expired one", async () => {
      const path = await certificate("a", "nats.test");
      const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "pipe" });
      writeFileSync(
        `${path}/ca.conf`,
        `[ca]\ndefault_ca=it\n[it]\ndatabase=${path}/list\nnew_certs_dir=${path}\nserial=${path}/serial\npolicy=any\n[any]\ncommonName=supplied\n`,
      );
      writeFileSync(`${path}/list`, "");
      writeFileSync(`${path}/serial`, "01\n");
      const request = ["-key", `${path}/a-key.pem`, "-subj", "/CN=nats.test"];
      openssl("req", "-new", ...request, "-out", `${path}/old.csr`);
      const then = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"];
      const signing = ["-config", `${path}/ca.conf`, "-selfsign", "-keyfile", `${path}/a-key.pem`];
      const files = ["-in", `${path}/old.csr`, "-out", `${path}/old.pem`];
      openssl(
        "ca",
        "-batch",
        "-rand_serial",
        "-md",
        "sha256",
        "-notext",
        ...signing,
        ...then,
        ...files,
      );
      const args = given(`${path}/old.pem`, `${path}/a-key.pem`, `${path}/old.pem`);
      await fails(args, /old\.pem has expired \(/);
    });
  });
});

describe("below a prefix", () => {
  test("a dry run makes nothing", async () => {
    const prefix = join(temporaryFolder(), "prefix");
    const { stderr } = succeeded(await setup(prefix, [...(await free()), "--tls", "--dry-run"]));
    expect(stderr).toContain(`would write ${prefix}/etc/jetrpc-nats/tls/server-key.pem\n`);
    expect(existsSync(prefix)).toBe(false);
  });

  test("failing in the middle takes back what was done", async () => {
    const prefix = temporaryFolder();
    // It is a file where a folder has to be made.
    mkdirSync(join(prefix, "usr/local"), { recursive: true });
    writeFileSync(join(prefix, "usr/local/lib"), "");
    const { code, stderr } = await setup(prefix, await free());
    expect(code).toBe(1);
    expect(stderr).toMatch(/^taking back what was done$/m);
    expect(readdirSync(prefix)).toEqual(["usr"]);
  });

  test("other options than before change nothing, and show the difference", async () => {
    const prefix = temporaryFolder();
    const options = await free();
    succeeded(await setup(prefix, options));
    const before = config(prefix);
    const { code, stderr } = await setup(prefix, [...options, "--max-memory", "1GB"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^- {2}max_memory_store: 256MB\n\+ {2}max_memory_store: 1GB$/m);
    expect(config(prefix)).toBe(before);
  });

  test("users in place of the token, and a password of its own for the system account", async () => {
    const prefix = temporaryFolder();
    const users = join(prefix, "given.conf");
    writeFileSync(users, "authorization { users: [ { user: a, password: b } ] }\n");
    const options = [...(await free()), "--users", users];
    const { stdout } = succeeded(await setup(prefix, options));
    expect(stdout).toContain("# and who connects: what belongs to a user of");
    expect(stdout).not.toContain("NATS_TOKEN");
    // Nobody hears it by the machine's name.
    expect(stdout).toMatch(/^NATS_URL=nats:\/\/127\.0\.0\.1:\d+$/m);
    expect(config(prefix, "secrets.conf")).toMatch(/^SYS_PASSWORD: "[0-9a-f]{64}"$/m);

    // What is given is taken, and what was there is kept.
    writeFileSync(users, "authorization { users: [ { user: a, password: c } ] }\n");
    expect(succeeded(await setup(prefix, options)).stderr).toContain("users.conf.old");
    expect(config(prefix, "users.conf")).toContain("password: c");
    expect(config(prefix, "users.conf.old")).toContain("password: b");
    expect(succeeded(await setup(prefix, options)).stderr).toContain("nothing to change");
  });

  test("WebSocket only when asked for; on loopback without TLS", async () => {
    const [plain, asked, tls] = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
    const websocket = ["--websocket", "--websocket-port", `${(await freePorts(1))[0]}`];
    succeeded(await setup(plain, await free()));
    expect(config(plain)).not.toContain("websocket");
    const [, , ...ports] = await free();
    succeeded(await setup(asked, [...ports, ...websocket]));
    expect(config(asked)).toMatch(/websocket \{\s+#.*\s+listen: "127\.0\.0\.1:\d+"\s+no_tls/);
    succeeded(await setup(tls, [...ports, ...websocket, "--tls"]));
    expect(config(tls)).toMatch(/websocket \{\s+listen: "0\.0\.0\.0:\d+"\s+tls \{/);
  });
});

const hasDebian = existsSync("/usr/share/keyrings/debian-archive-keyring.gpg");

test.runIf(hasDebian)(
  "takes Debian's package when there is nothing else",
  async (context) => {
    const debian = "http://deb.debian.org/debian";
    const answer = await fetch(`${debian}/dists/sid/InRelease`, {
      method: "HEAD",
      signal: AbortSignal.timeout(5_000),
    }).catch(() => undefined);
    context.skip(!answer?.ok, "Debian's archive is out of reach");
    const prefix = temporaryFolder();
    const options = [...(await free()), "--debian-mirror", debian];
    const { stderr } = succeeded(await setup(prefix, options, { NATS_SERVER_BIN: "" }));
    expect(stderr).toMatch(/^ {2}release: .* cannot be downloaded: /m);
    expect(stderr).toMatch(/^ {2}found 2\.\d+\.\d+ \(Debian\)$/m);
    const program = join(prefix, "usr/local/lib/jetrpc-nats/nats-server");
    expect(execFileSync(program, ["--version"], { encoding: "utf8" })).toMatch(
      /^nats-server: v2\./,
    );
  },
  400_000,
);
