import { once } from "node:events";
import { chmodSync, copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { parseEnv } from "node:util";
import { Code, type Connection } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { findNatsServer } from "@jetrpc/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePorts } from "../packages/testing/src/free-ports.js";
import { CleanRoot, canMakeCleanRoot } from "./clean-root.js";
import { type Finished, run } from "./run.js";

const top = join(import.meta.dirname, "..");

/** The script on a machine of its own, with a real systemd. */
describe.skipIf(!canMakeCleanRoot && !process.env["CI"])("setup.sh in a clean root", () => {
  let root: CleanRoot;
  let options: string[];
  let port: number;
  /** What differs from this machine's file system before the script comes. */
  let before: string[];
  /** What a client's .env needs. */
  let env: Record<string, string>;

  beforeAll(async () => {
    root = await CleanRoot.boot();
    cpSync(join(top, "infrastructure/nats-server"), root.path("/opt/setup"), { recursive: true });
    copyFileSync((await findNatsServer()).path, root.path("/opt/nats-server"));
    writeServer("/opt/older", 'case $1 in --version) echo "nats-server: v2.12.0"; exit ;; esac');
    before = await root.changes();
    const [free, monitor, refused] = (await freePorts(3)) as [number, number, number];
    port = free;
    options = ["--listen", "127.0.0.1", "--host", "127.0.0.1", "--max-disk", "100MB"].concat(
      ["--port", `${port}`, "--monitor-port", `${monitor}`],
      // Nothing is downloaded in this test.
      ["--releases-url", `http://127.0.0.1:${refused}`],
      ["--debian-mirror", `http://127.0.0.1:${refused}`],
    );
  });

  afterAll(() => root?.remove());

  /** A nats-server that does something else before it is one. */
  function writeServer(path: string, first: string): void {
    writeFileSync(root.path(path), `#!/bin/sh\n${first}\nexec /opt/nats-server "$@"\n`);
    chmodSync(root.path(path), 0o755);
  }

  function setup(args: string[], server = "/opt/nats-server"): Promise<Finished> {
    const script = ["/opt/setup/setup.sh", ...options, ...args];
    return root.run("env", `NATS_SERVER_BIN=${server}`, ...script);
  }

  function envOf(text: string): Record<string, string> {
    return { ...(parseEnv(text) as Record<string, string>) };
  }

  async function succeeds(args: string[], server?: string): Promise<Finished> {
    const done = await setup(args, server);
    expect(done, done.stderr).toMatchObject({ code: 0 });
    return done;
  }

  /** Every file that setup.sh looks after, with its sum and its time. */
  async function state(): Promise<string> {
    const places = ["/etc/jetrpc-nats", "/usr/local/lib/jetrpc-nats"];
    places.push("/etc/systemd/system/jetrpc-nats.service");
    const times = await root.run("find", ...places, "-printf", "%p %M %u %g %T@ %i\n");
    const sums = await root.run("find", ...places, "-type", "f", "-exec", "sha256sum", "{}", "+");
    return times.stdout + sums.stdout;
  }

  async function property(name: string): Promise<string> {
    const show = await root.run("systemctl", "show", "--value", "-p", name, "jetrpc-nats");
    return show.stdout.trim();
  }

  function client(more: object = {}): Promise<Connection> {
    return connect({
      nats: {
        servers: env["NATS_URL"] as string,
        ...(env["NATS_TOKEN"] && { token: env["NATS_TOKEN"] }),
        ...(env["NATS_TLS_CA"] && {
          tls: { ca: readFileSync(root.path(env["NATS_TLS_CA"]), "utf8") },
        }),
        ...more,
      },
    });
  }

  test("a dry run tells everything and does nothing", async () => {
    const { stderr, stdout } = await succeeds(["--dry-run"]);
    expect(stderr).toContain("would make the user jetrpc-nats\n");
    expect(stderr).toContain("would write /etc/jetrpc-nats/secrets.conf\n");
    expect(stderr).toContain("would start the service jetrpc-nats, now and at boot\n");
    expect(stdout).toBe("");
    expect(await root.changes()).toEqual(before);
    expect((await root.run("id", "jetrpc-nats")).code).toBe(1);
  });

  test("only root may", async () => {
    const nobody = ["-u", "nobody", "--", "/opt/setup/setup.sh"];
    await root.run("chmod", "-R", "a+rX", "/opt/setup");
    expect(await root.run("runuser", ...nobody)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^setup\.sh: only root can do this: use sudo, or --prefix/),
    });
  });

  test("a server that asks for its token", async () => {
    const { stdout } = await succeeds([]);
    env = envOf(stdout);
    expect(env).toEqual({
      NATS_URL: `nats://127.0.0.1:${port}`,
      NATS_TOKEN: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(await property("ActiveState")).toBe("active");
    expect(await property("UnitFileState")).toBe("enabled");
    const connection = await client();
    expect((await connection.nats.request("$JS.API.INFO")).json()).not.toHaveProperty("error");
    await connection.close();
    for (const token of ["wrong", undefined]) {
      await expect(client({ token })).rejects.toMatchObject({ code: Code.Unauthenticated });
    }
  });

  test("with a user of its own, and no secret that others can see", async () => {
    const pid = await property("MainPID");
    const { stdout } = await root.run("ps", "-o", "user:20=,args=", "-p", pid);
    expect(stdout.trim()).toMatch(
      /^jetrpc-nats +\S+\/nats-server -c \/etc\/jetrpc-nats\/nats-server\.conf$/,
    );
    const environ = (await root.run("cat", `/proc/${pid}/environ`)).stdout;
    expect(environ).toContain("PATH=");
    expect(environ).not.toContain(env["NATS_TOKEN"]);
    expect(readFileSync(root.path("/etc/jetrpc-nats/nats-server.conf"), "utf8")).not.toContain(
      env["NATS_TOKEN"],
    );
    const places = ["/etc/jetrpc-nats/secrets.conf", "/var/lib/jetrpc-nats"];
    const modes = await root.run("stat", "-c", "%A %U %n", ...places);
    expect(modes.stdout.trim().split("\n")).toEqual([
      "-rw------- jetrpc-nats /etc/jetrpc-nats/secrets.conf",
      "drwx------ jetrpc-nats /var/lib/jetrpc-nats",
    ]);
  });

  test("the unit is right and hardened", async () => {
    const unit = "/etc/systemd/system/jetrpc-nats.service";
    expect(await root.run("systemd-analyze", "verify", unit)).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    });
    // 100 is worst; what is left is the network.
    const args = ["security", "--offline=yes", "--threshold=15", unit];
    expect((await root.run("systemd-analyze", ...args)).code).toBe(0);
  });

  test("the demo runs against it with the printed .env", async () => {
    const demo = join(top, "examples/pdf-demo/demo.ts");
    const { code, stdout, stderr } = await run(join(top, "node_modules/.bin/tsx"), [demo], env);
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toContain(`nats-server   ${env["NATS_URL"]}`);
    expect(stdout).toContain("no page lost, none twice");
  });

  test("a second time nothing changes", async () => {
    const before = [await state(), await property("MainPID")];
    const { stderr, stdout } = await succeeds([]);
    expect(stderr).toMatch(/^nothing to change$/m);
    expect(envOf(stdout)).toEqual(env);
    expect([await state(), await property("MainPID")]).toEqual(before);
  });

  test("a service that was stopped is started", async () => {
    await root.run("systemctl", "stop", "jetrpc-nats");
    await root.run("rm", "-rf", "/var/lib/jetrpc-nats/jetstream");
    expect((await succeeds([])).stderr).toContain("start the service jetrpc-nats");
    await (await client()).close();
  });

  test("modes that were loosened are mended", async () => {
    const before = (await state()).replace(/ \d+\.\d+ /g, " ");
    await root.run("chmod", "644", "/etc/jetrpc-nats/secrets.conf");
    const { stderr } = await succeeds([]);
    expect(stderr).toContain("set /etc/jetrpc-nats/secrets.conf to mode 600");
    expect((await state()).replace(/ \d+\.\d+ /g, " ")).toBe(before);
  });

  test("a configuration that was edited is left alone, and the difference shown", async () => {
    const path = root.path("/etc/jetrpc-nats/nats-server.conf");
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace("max_connections: 10000", "max_connections: 77"));
    const before = await state();
    const { code, stderr } = await setup([]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^-max_connections: 77\n\+max_connections: 10000$/m);
    expect(stderr).toMatch(/nats-server\.conf is left as it is, and so is everything else/);
    expect(await state()).toBe(before);
    writeFileSync(path, text);
  });

  describe("--upgrade", () => {
    const program = "/usr/local/lib/jetrpc-nats/nats-server";
    const version = async () => (await root.run(program, "--version")).stdout.trim();

    test("takes a newer server, and keeps what is stored", async () => {
      const newest = await version();
      await root.run("cp", "--remove-destination", "/opt/older", program);
      expect(await version()).toBe("nats-server: v2.12.0");
      const connection = await client();
      await connection.nats.request(
        "$JS.API.STREAM.CREATE.KEPT",
        JSON.stringify({ name: "KEPT", subjects: ["kept"] }),
      );
      await connection.nats.request("kept", "x");
      await connection.close();

      const pid = await property("MainPID");
      const { stderr } = await succeeds(["--upgrade"]);
      expect(stderr).toContain("restart the service jetrpc-nats");
      expect(await version()).toBe(newest);
      expect(await property("MainPID")).not.toBe(pid);
      expect(await messages("KEPT")).toBe(1);
    });

    test("says when there is none", async () => {
      const before = [await state(), await property("MainPID")];
      const { stderr } = await succeeds(["--upgrade"]);
      expect(stderr).toMatch(/NATS_SERVER_BIN: .* not newer than /);
      expect(stderr).toMatch(/^nothing to change$/m);
      expect([await state(), await property("MainPID")]).toEqual(before);
    });

    test("goes back when the new one does not start", async () => {
      writeServer(
        "/opt/broken",
        'case "$*" in --version) echo "nats-server: v2.99.0"; exit ;; *-t*) exit ;; esac; exit 1',
      );
      // It is not waited for so long here.
      await root.run("sed", "-i", "s/attempt < 300/attempt < 10/", "/opt/setup/lib/service.sh");
      const newest = await version();
      const { code, stderr } = await setup(["--upgrade"], "/opt/broken");
      expect(code).toBe(1);
      expect(stderr).toMatch(/the service does not (start|answer)/);
      expect(await version()).toBe(newest);
      await expect.poll(() => property("ActiveState")).toBe("active");
      await expect.poll(() => messages("KEPT").catch(String)).toBe(1);
    });
  });

  async function messages(stream: string): Promise<number> {
    const connection = await client();
    const info = await connection.nats.request(`$JS.API.STREAM.INFO.${stream}`);
    await connection.close();
    return (info.json() as { state: { messages: number } }).state.messages;
  }

  describe("--tls", () => {
    test("lets in who trusts its CA and has the token", async () => {
      rmSync(root.path("/etc/jetrpc-nats/nats-server.conf"));
      const token = env["NATS_TOKEN"];
      env = envOf((await succeeds(["--tls"])).stdout);
      expect(env["NATS_TOKEN"]).toBe(token);
      expect(await messages("KEPT")).toBe(1);
      const connection = await client();
      expect(connection.nats.info?.tls_required).toBe(true);
      await connection.close();
      await expect(client({ tls: {} })).rejects.toMatchObject({
        message: expect.stringMatching(/is of a CA that is not trusted here: set NATS_TLS_CA/),
      });
      await expect(client({ token: "wrong" })).rejects.toMatchObject({
        code: Code.Unauthenticated,
      });
    });

    test("takes a renewed certificate without a restart", async () => {
      const [before, pid] = [await serial(), await property("MainPID")];
      const host = ["/etc/jetrpc-nats/tls", "server", "127.0.0.1"];
      expect(await root.run("/opt/setup/certificates.sh", ...host)).toMatchObject({ code: 0 });
      await root.run("systemctl", "reload", "jetrpc-nats");
      await expect.poll(serial).not.toBe(before);
      expect(await property("MainPID")).toBe(pid);
      expect((await succeeds(["--tls"])).stderr).toMatch(/^nothing to change$/m);
    });

    /** Of the certificate that the server shows. */
    async function serial(): Promise<string> {
      const socket = connectTcp(port, "127.0.0.1");
      // A nats-server speaks first, in clear.
      await once(socket, "data");
      const tls = connectTls({ socket, rejectUnauthorized: false });
      await once(tls, "secureConnect");
      const { serialNumber } = tls.getPeerCertificate();
      tls.destroy();
      return serialNumber;
    }
  });

  describe("--uninstall", () => {
    test("keeps what is stored, and the next set-up goes on with it", async () => {
      const { stderr } = await succeeds(["--uninstall"]);
      expect(stderr).toMatch(/^kept: \/etc\/jetrpc-nats\nkept: \/var\/lib\/jetrpc-nats$/m);
      expect((await root.run("systemctl", "cat", "jetrpc-nats")).code).toBe(1);
      await expect(client()).rejects.toMatchObject({ code: Code.Unavailable });
      expect(envOf((await succeeds(["--tls"])).stdout)).toEqual(env);
      expect(await messages("KEPT")).toBe(1);
    });

    test("--purge leaves nothing", async () => {
      await succeeds(["--uninstall", "--purge"]);
      expect((await root.run("id", "jetrpc-nats")).code).toBe(1);
      // Of the accounts the lists and the backups of the lists are written anew.
      const accounts = /^\/etc(\/((passwd|shadow|group|gshadow|subuid|subgid)-?|\.pwd\.lock))?$/;
      const left = (await root.changes()).filter((path) => !accounts.test(path));
      // They are as they were, but things have come and gone.
      const folders = ["/usr/local", "/usr/local/lib"];
      expect(left.filter((path) => !before.includes(path) && !folders.includes(path))).toEqual([]);
      const { stderr } = await succeeds(["--uninstall", "--purge"]);
      expect(stderr).toBe("nothing to change\n");
    });
  });
});
