import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NatsServer, startNats } from "@jetrpc/testing";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Project } from "../packages/cli/test/support.js";
import { freePorts } from "../packages/testing/src/free-ports.js";
import { CleanRoot, canMakeCleanRoot } from "./clean-root.js";
import { type Finished, run } from "./run.js";

const top = join(import.meta.dirname, "..");
const script = join(top, "infrastructure/monitoring/setup.sh");

/** What the command needs, as npm installs it. */
const modules = [
  ...["cli", "runtime", "codec"].map((name) => `@jetrpc/${name}`),
  ...["@bufbuild/protobuf", "@connectrpc/connect", "prom-client", "tdigest", "bintrees"],
  ...["@nats-io/nats-core", "@nats-io/nkeys", "@nats-io/nuid", "@nats-io/transport-node"],
  ...["js-sha256", "tweetnacl", "@opentelemetry/api"],
];

/** The script on a machine of its own, with a real systemd. */
describe.skipIf(!canMakeCleanRoot && !process.env["CI"])(
  "setup.sh of monitoring in a clean root",
  () => {
    let root: CleanRoot;
    let server: NatsServer;
    let options: string[];
    let ports: number[];
    let before: string[];
    const project = new Project();
    const services = ["jetrpc-metrics", "jetrpc-prometheus", "jetrpc-alertmanager"];

    beforeAll(async () => {
      [root, server] = await Promise.all([CleanRoot.boot(), startNats()]);
      cpSync(join(top, "infrastructure"), root.path("/opt/monitored/infrastructure"), {
        recursive: true,
      });
      const installed = root.path("/opt/monitored/jetrpc/node_modules");
      for (const name of modules) {
        const source = realpathSync(join(top, "node_modules", name));
        cpSync(source, join(installed, name), {
          recursive: true,
          dereference: true,
          filter: (path) => !path.slice(source.length).includes("/test"),
        });
      }
      copyFileSync(realpathSync(process.execPath), root.path("/opt/monitored/node"));
      copyFileSync(project.image({}), root.path("/opt/monitored/image.binpb"));
      writeFileSync(root.path("/opt/monitored/watch.env"), `NATS_URL=${server.url}\n`);
      await root.run("chmod", "-R", "a+rX", "/opt/monitored");
      chmodSync(root.path("/opt/monitored/node"), 0o755);
      ports = await freePorts(4);
      options = [
        "--env",
        "/opt/monitored/watch.env",
        "--descriptors",
        "/opt/monitored/image.binpb",
      ].concat(
        [
          "--node",
          "/opt/monitored/node",
          "--jetrpc",
          "/opt/monitored/jetrpc/node_modules/@jetrpc/cli/bin/jetrpc.js",
        ],
        ["--metrics-port", `${ports[0]}`, "--prometheus-port", `${ports[1]}`],
        ["--alertmanager-port", `${ports[2]}`, "--monitor", `http://127.0.0.1:${ports[3]}`],
      );
      before = await root.changes();
    });

    afterAll(async () => {
      await Promise.all([root?.remove(), server?.stop()]);
      project.remove();
    });

    function setup(...args: string[]): Promise<Finished> {
      return root.run("/opt/monitored/infrastructure/monitoring/setup.sh", ...options, ...args);
    }

    async function succeeds(...args: string[]): Promise<string> {
      const done = await setup(...args);
      expect(done, done.stderr).toMatchObject({ code: 0 });
      return done.stderr;
    }

    /** Every file that the script looks after, and the processes of the services. */
    async function state(): Promise<string> {
      const units = services.map((name) => `/etc/systemd/system/${name}.service`);
      const places = ["/etc/jetrpc-monitoring", ...units];
      const files = await root.run("find", ...places, "-printf", "%p %M %u %g %T@ %i\n");
      const pids = await root.run("systemctl", "show", "--value", "-p", "MainPID", ...services);
      return files.stdout + pids.stdout;
    }

    async function scraped(): Promise<string> {
      return await (await fetch(`http://127.0.0.1:${ports[0]}/metrics`)).text();
    }

    test("a dry run tells everything and does nothing", async () => {
      const said = await succeeds("--dry-run");
      expect(said).toContain("would make the user jetrpc-metrics\n");
      expect(said).toContain("would write /etc/jetrpc-monitoring/metrics.env\n");
      expect(said).toContain("would start the service jetrpc-prometheus, now and at boot\n");
      expect(await root.changes()).toEqual(before);
    });

    test("sets up three services that work together", async () => {
      await succeeds();
      for (const name of services) {
        const show = ["show", "--value", "-p", "ActiveState", "-p", "UnitFileState", name];
        expect((await root.run("systemctl", ...show)).stdout).toBe("active\nenabled\n");
      }
      expect(await scraped()).toMatch(/^jetrpc_up 1$/m);
      const targets = `http://127.0.0.1:${ports[1]}/api/v1/query?query=up{job="jetrpc"}`;
      await expect
        .poll(async () => JSON.stringify(await (await fetch(targets)).json()))
        .toMatch(/"1"\]/);
    });

    test("the units are right and hardened, and the credentials are for root only", async () => {
      for (const name of services) {
        const unit = `/etc/systemd/system/${name}.service`;
        const verified = await root.run("systemd-analyze", "verify", unit);
        expect(verified).toEqual({ code: 0, stdout: "", stderr: "" });
        const args = ["security", "--offline=yes", "--threshold=20", unit];
        expect((await root.run("systemd-analyze", ...args)).code).toBe(0);
      }
      const { stdout } = await root.run(
        "stat",
        "-c",
        "%A %U",
        "/etc/jetrpc-monitoring/metrics.env",
      );
      expect(stdout).toBe("-rw------- root\n");
    });

    test("a second time nothing changes", async () => {
      const earlier = await state();
      expect(await succeeds()).toBe("nothing to change\n");
      expect(await state()).toBe(earlier);
    });

    test("new credentials replace the old ones, and the exporter takes them", async () => {
      writeFileSync(
        root.path("/opt/monitored/watch.env"),
        `NATS_URL=${server.url}\nJETRPC_OWNER=watch\n`,
      );
      const said = await succeeds();
      expect(said).toContain("metrics.env.old\n");
      expect(said).toContain("restart the service jetrpc-metrics\n");
      expect(await scraped()).toMatch(/^jetrpc_up 1$/m);
    });

    test("rules of a new version replace those that nobody has edited, and Prometheus takes them", async () => {
      const path = root.path("/opt/monitored/infrastructure/monitoring/rules.yml");
      const text = readFileSync(path, "utf8");
      writeFileSync(path, text.replace("> 900", "> 800"));
      expect(await succeeds()).toContain("reload the service jetrpc-prometheus\n");
      const rules = `http://127.0.0.1:${ports[1]}/api/v1/rules`;
      await expect
        .poll(async () => JSON.stringify(await (await fetch(rules)).json()))
        .toMatch(/ 800\b/);
      writeFileSync(path, text);
      await succeeds();
    });

    test("receivers of alerts stay; an edited rule is left alone, and the difference shown", async () => {
      const receivers = root.path("/etc/jetrpc-monitoring/alertmanager.yml");
      writeFileSync(receivers, `${readFileSync(receivers, "utf8")}# ours\n`);
      expect(await succeeds()).toBe("nothing to change\n");
      const path = root.path("/etc/jetrpc-monitoring/rules.yml");
      const text = readFileSync(path, "utf8");
      writeFileSync(path, text.replace("> 900", "> 60"));
      const { code, stderr } = await setup();
      expect(code).toBe(1);
      expect(stderr).toMatch(/^\+ .*> 900$/m);
      expect(stderr).toContain("rules.yml is left as it is, and so is everything else");
      writeFileSync(path, text);
    });

    test("a service that does not start is taken back", async () => {
      await succeeds("--uninstall");
      const earlier = await state();
      writeFileSync(root.path("/opt/monitored/broken"), "#!/bin/sh\nexit 1\n");
      chmodSync(root.path("/opt/monitored/broken"), 0o755);
      const { code, stderr } = await setup("--node", "/opt/monitored/broken");
      expect(code).toBe(1);
      // systemd may see it end at once.
      expect(stderr).toMatch(/^setup\.sh: the service jetrpc-metrics does not (stay up|start)/m);
      expect(stderr).toMatch(/^taking back what was done$/m);
      expect(await state()).toBe(earlier);
    });

    test("--uninstall --purge leaves nothing but Debian's packages", async () => {
      await succeeds();
      expect(await succeeds("--uninstall", "--purge")).toContain("kept: Debian's packages");
      const left = (await root.changes()).filter((path) => /jetrpc-(m|p|a)/.test(path));
      expect(left).toEqual([]);
      expect((await root.run("id", "jetrpc-metrics")).code).toBe(1);
      expect(await succeeds("--uninstall", "--purge")).toMatch(/^nothing to change$/m);
    });

    // They come from Debian's archive.
    const patient = { timeout: 600_000 };
    test(
      "packages that are missing are installed, without their own services",
      patient,
      async (context) => {
        const remove = ["--purge", "--force-depends", "prometheus", "prometheus-alertmanager"];
        await root.run("dpkg", ...remove);
        expect(await succeeds("--dry-run")).toContain(
          "would install prometheus prometheus-alertmanager by apt-get",
        );
        const archive = await fetch("http://deb.debian.org/debian/dists/stable/InRelease", {
          method: "HEAD",
          signal: AbortSignal.timeout(5_000),
        }).catch(() => undefined);
        context.skip(!archive?.ok, "Debian's archive is out of reach");
        await succeeds();
        const own = await root.run(
          "systemctl",
          "is-active",
          "prometheus",
          "prometheus-alertmanager",
        );
        expect(own.stdout).toBe("inactive\ninactive\n");
        expect(await scraped()).toMatch(/^jetrpc_up 1$/m);
      },
    );
  },
);

describe("the options", () => {
  test.each([
    [["--nope"], "--nope is no option"],
    [["--env"], "--env needs a value"],
    [["--descriptors", "x"], "--env FILE is needed"],
    [["--retention", "long"], "is no time like 30d"],
    [["--metrics-port", "9090"], "--prometheus-port 9090 is used for something else already"],
    [["--monitor", "8222"], "is no list of URLs"],
    [["--monitor=8222"], "--monitor 8222 is no list of URLs"],
    [["--dry-run=yes"], "--dry-run is no option that takes a value"],
    [["--targets", "host"], "is no list of HOST:PORT"],
    [["--targets", "host:1,host:65536"], "host:65536 has no port"],
    [["--listen", "999.1.1.1"], "is no address"],
    [["--listen", "1.2.3"], "is no address"],
    [["--purge"], "--purge goes with --uninstall"],
  ])("%j are refused", async (args, text) => {
    const { code, stderr } = await run(script, ["--prefix", "/nowhere", ...args]);
    expect(code).toBe(2);
    expect(stderr).toContain(text);
  });

  test.each([
    ["10.1.2.3", "10.1.2.3"],
    ["[::1]", "[::1]"],
    ["0.0.0.0", "127.0.0.1"],
    ["[::]", "127.0.0.1"],
  ])("what listens at %s is asked at %s", async (listen, reach) => {
    const folder = mkdtempSync(join(tmpdir(), "jetrpc-monitoring-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const env = join(folder, "watch.env");
    writeFileSync(env, "NATS_URL=nats://127.0.0.1:4222\n");
    const ports = await freePorts(3);
    const done = await run(script, [
      ...["--prefix", folder, "--env", env, "--descriptors", env, "--listen", listen],
      ...["--node", process.execPath, "--jetrpc", realpathSync("/bin/true")],
      ...["--metrics-port", `${ports[0]}`, "--prometheus-port", `${ports[1]}`],
      ...["--alertmanager-port", `${ports[2]}`],
    ]);
    expect(done, done.stderr).toMatchObject({ code: 0 });
    const config = readFileSync(join(folder, "etc/jetrpc-monitoring/prometheus.yml"), "utf8");
    const asked = [...config.matchAll(/targets: \["(.*)"\]/g)].map(([, target]) => target);
    expect(asked).toEqual([`${reach}:${ports[2]}`, `${reach}:${ports[0]}`]);
  });

  test("--purge finds what was stored elsewhere, and a monitoring port may have an IPv6 address", async () => {
    const folder = mkdtempSync(join(tmpdir(), "jetrpc-monitoring-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const env = join(folder, "watch.env");
    writeFileSync(env, "NATS_URL=nats://127.0.0.1:4222\n");
    const ports = await freePorts(3);
    const data = join(folder, "elsewhere");
    const at = ["--prefix", folder];
    const done = await run(script, [
      ...[...at, "--env", env, "--descriptors", env, `--data=${data}`],
      ...["--node", process.execPath, "--jetrpc", realpathSync("/bin/true")],
      ...["--metrics-port", `${ports[0]}`, "--prometheus-port", `${ports[1]}`],
      ...["--alertmanager-port", `${ports[2]}`, "--monitor", "http://[::1]:8222,http://n2:8222"],
    ]);
    expect(done, done.stderr).toMatchObject({ code: 0 });
    const unit = readFileSync(join(folder, "etc/systemd/system/jetrpc-metrics.service"), "utf8");
    expect(unit).toContain(" --monitor http://[::1]:8222 --monitor http://n2:8222\n");
    expect(existsSync(join(data, "prometheus"))).toBe(true);
    // First without --purge: the units are gone then.
    await run(script, [...at, "--uninstall"]);
    expect(existsSync(join(data, "prometheus"))).toBe(true);
    const purged = await run(script, [...at, "--uninstall", "--purge"]);
    expect(purged, purged.stderr).toMatchObject({ code: 0 });
    expect(existsSync(data)).toBe(false);
  });

  test("a new version brings its rules, where nobody has edited the old ones; a dry run says just what is done", async () => {
    const folder = mkdtempSync(join(tmpdir(), "jetrpc monitoring "));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const prefix = mkdtempSync(join(tmpdir(), "jetrpc-monitoring-"));
    onTestFinished(() => rmSync(prefix, { recursive: true }));
    cpSync(join(top, "infrastructure"), join(folder, "new version"), { recursive: true });
    const env = join(folder, "watch it.env");
    writeFileSync(env, "NATS_URL=nats://127.0.0.1:4222\n");
    const ports = await freePorts(3);
    const options = [
      ...["--prefix", prefix, "--env", env, "--descriptors", env],
      ...["--node", process.execPath, "--jetrpc", realpathSync("/bin/true")],
      ...["--metrics-port", `${ports[0]}`, "--prometheus-port", `${ports[1]}`],
      ...["--alertmanager-port", `${ports[2]}`],
    ];
    const setup = (...more: string[]) =>
      run(join(folder, "new version/monitoring/setup.sh"), [...options, ...more]);
    const dry = await setup("--dry-run");
    const done = await setup();
    expect(done, done.stderr).toMatchObject({ code: 0 });
    expect(done.stderr).toBe(dry.stderr.replaceAll("would ", ""));
    expect((await setup()).stderr).toBe("nothing to change\n");
    const made = join(folder, "new version/monitoring/rules.yml");
    const installed = join(prefix, "etc/jetrpc-monitoring/rules.yml");
    const first = readFileSync(made, "utf8");
    writeFileSync(made, first.replace("> 900", "> 800"));
    const second = await setup();
    expect(second.stderr).toContain("rules.yml.old\n");
    expect(readFileSync(installed, "utf8")).toContain("> 800");
    expect((await setup()).stderr).toBe("nothing to change\n");
    writeFileSync(installed, first.replace("> 900", "> 60"));
    writeFileSync(made, first.replace("> 900", "> 700"));
    const edited = await setup();
    expect(edited.code).toBe(1);
    expect(edited.stderr).toContain("rules.yml is left as it is");
    expect(readFileSync(installed, "utf8")).toContain("> 60");
  });

  test("what others store in a folder is neither used nor removed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "jetrpc-monitoring-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    mkdirSync(join(folder, "lib/prometheus"), { recursive: true });
    writeFileSync(join(folder, "lib/prometheus/wal"), "theirs");
    const env = join(folder, "watch.env");
    writeFileSync(env, "NATS_URL=nats://127.0.0.1:4222\n");
    const at = ["--prefix", folder, "--data", join(folder, "lib")];
    const files = ["--env", env, "--descriptors", env];
    for (const args of [files, ["--uninstall", "--purge"]]) {
      const { code, stderr } = await run(script, [...at, ...args]);
      expect(code).toBe(1);
      expect(stderr).toContain("lib/prometheus is not of this script");
    }
    expect(readFileSync(join(folder, "lib/prometheus/wal"), "utf8")).toBe("theirs");
  });
});
