import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import { type Connection, createClient, startWorker, type Worker } from "@jetrpc/runtime";
import { connect } from "@jetrpc/runtime/node";
import { planService } from "@jetrpc/runtime/operator";
import { type NatsCluster, type NatsServer, startNats, startNatsCluster } from "@jetrpc/testing";
import { createPhotoClient } from "@jetrpc-examples/photo-v1-client";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Project, serviceOf } from "../packages/cli/test/support.js";
import { freePorts } from "../packages/testing/src/free-ports.js";
import { run } from "./run.js";

const folder = join(import.meta.dirname, "../infrastructure/monitoring");
const jetrpc = join(import.meta.dirname, "../packages/cli/bin/jetrpc.js");
const hasPrometheus = ["prometheus", "promtool", "prometheus-alertmanager", "amtool"].every(
  (name) => existsSync(`/usr/bin/${name}`),
);

interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly state: string;
  readonly status?: { readonly inhibitedBy: readonly string[] };
}

/** Every expression of the dashboards. */
const shown = readdirSync(join(folder, "dashboards")).flatMap((file) => {
  const { panels } = JSON.parse(readFileSync(join(folder, "dashboards", file), "utf8")) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  return panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => [`${file}: ${title}`, expr.replaceAll(/\$\w+/g, ".+")] as const),
  );
});

/** Prometheus of Debian, fed by the exporter; without its packages there is nothing to test. */
describe.skipIf(!hasPrometheus && !process.env["CI"])(
  "monitoring, with Debian's prometheus and prometheus-alertmanager (apt-get install both)",
  () => {
    const temporary = mkdtempSync(join(tmpdir(), "jetrpc-monitoring-"));
    const config = join(temporary, "etc/jetrpc-monitoring");
    const children: ChildProcess[] = [];
    const open: (() => unknown)[] = [];
    const project = new Project();
    const image = project.image({
      service: "replicas: 3",
      order: "max_attempts: 1",
      methods: "rpc Refund(Request) returns (Response);",
    });
    const service: DescService = serviceOf(image);
    let ports: number[];
    let cluster: NatsCluster;
    /** A server with TLS, a small store and an account that has a limit. */
    let edge: NatsServer;
    let connection: Connection;
    let restartExporter: () => Promise<void>;
    let prometheus: string;
    let rules: string;
    /** Where a worker tells its own metrics. */
    let workersPort: number;

    beforeAll(async () => {
      ports = await freePorts(5);
      const [metrics, web, alertmanager, monitor, other] = ports as [
        number,
        number,
        number,
        number,
        number,
      ];
      prometheus = `http://127.0.0.1:${web}/api/v1`;
      makeCertificate(10);
      const tls = `tls { cert_file: "${temporary}/edge.pem", key_file: "${temporary}/edge-key.pem" }`;
      const store = `jetstream { max_file_store: 10MB }`;
      const account = `EDGE {\njetstream { max_file: 10MB }\nusers: [{ user: edge, password: x }]\n}`;
      const accounts = `accounts {\n${account}\n}\nno_auth_user: edge`;
      [cluster, edge] = await Promise.all([
        startNatsCluster({ config: "max_pending: 1MB" }),
        startNats({
          config: `server_name: edge\nhttp: "127.0.0.1:${monitor}"\n${tls}\n${store}\n${accounts}`,
        }),
      ]);
      workersPort = other;
      const [first, second] = cluster.servers as unknown as { url: string; monitorUrl: string }[];
      // The third one is to be lost, and nobody is to notice but its peers.
      const urls = [first?.url, second?.url].join();
      const monitors = [first?.monitorUrl, second?.monitorUrl, `http://127.0.0.1:${monitor}`];
      writeFileSync(join(temporary, "observer.env"), `NATS_URL=${urls}\n`);
      const ports3 = ["--metrics-port", `${metrics}`, "--prometheus-port", `${web}`];
      const setUp = await run(join(folder, "setup.sh"), [
        ...["--prefix", temporary, "--jetrpc", jetrpc, "--descriptors", image],
        ...["--env", join(temporary, "observer.env"), "--monitor", monitors.join()],
        ...[...ports3, "--alertmanager-port", `${alertmanager}`, "--targets", `127.0.0.1:${other}`],
      ]);
      expect(setUp, setUp.stderr).toMatchObject({ code: 0 });
      // What takes minutes takes seconds here.
      rules = readFileSync(join(config, "rules.yml"), "utf8");
      edit("rules.yml", (text) =>
        text
          .replaceAll(/for: \w+$/gm, "for: 1s")
          .replaceAll(/\[(5m|15m|1h)(:?)\]/g, "[20s$2]")
          .replaceAll("> 900", "> 5"),
      );
      edit("prometheus.yml", (text) =>
        text
          .replace(/scrape_interval: \w+/, "scrape_interval: 2s")
          .replace(/evaluation_interval: \w+/, "evaluation_interval: 1s"),
      );
      for (const name of ["alertmanager", "prometheus"]) {
        children.push(startUnit(name));
      }
      let exporter: ChildProcess | undefined;
      restartExporter = async () => {
        exporter?.kill("SIGKILL");
        exporter = startUnit("metrics");
        children.push(exporter);
      };
      await restartExporter();
      connection = await connect({ nats: { servers: urls.split(",") } });
      open.push(() => connection.close());
      await (await planService(connection, service)).apply();
      await startPhotoWorker(urls);
      await vi.waitFor(async () => expect(await value("jetrpc_up")).toBe(1), { timeout: 120_000 });
    });

    /** A worker that tells its own metrics as docs/telemetry.md says, and some load for it. */
    async function startPhotoWorker(urls: string): Promise<void> {
      const page = readFileSync(join(folder, "../../docs/telemetry.md"), "utf8");
      const [, otel = ""] = /^```js\n(.*?)^```/ms.exec(page) ?? [];
      // Below this repository: there Node finds the packages.
      mkdirSync(join(import.meta.dirname, "../out"), { recursive: true });
      const files = mkdtempSync(join(import.meta.dirname, "../out/worker-"));
      open.push(() => rmSync(files, { recursive: true }));
      writeFileSync(join(files, "otel.mjs"), otel);
      writeFileSync(
        join(files, "worker.mjs"),
        `import { telemetry } from "@jetrpc/otel";
        import { serve } from "@jetrpc/runtime/node";
        import { PhotoService } from "@jetrpc-examples/photo-v1-client";
        const getInfo = () => ({ width: 4, height: 3 });
        const resize = ({ photo }) => ({ file: photo });
        await serve(PhotoService, { getInfo, resize }, { observer: telemetry() });
        console.log("ready");`,
      );
      const node = [
        process.execPath,
        "--import",
        join(files, "otel.mjs"),
        join(files, "worker.mjs"),
      ];
      const worker = spawn("setpriv", ["--pdeathsig", "KILL", ...node], {
        env: { PATH: process.env["PATH"], NATS_URL: urls, METRICS_PORT: `${workersPort}` },
        stdio: ["ignore", "pipe", "inherit"],
      });
      children.push(worker);
      await once(worker.stdout as Readable, "data");
      const photos = createPhotoClient(connection);
      await photos.resize({ photo: "1.jpg", width: 8 });
      await photos.getInfo({ photo: "1.jpg" });
    }

    afterAll(async () => {
      for (const close of open.reverse()) {
        await close();
      }
      for (const child of children) {
        child.kill("SIGKILL");
      }
      await Promise.all([cluster?.stop(), edge?.stop()]);
      project.remove();
      rmSync(temporary, { recursive: true, force: true });
    });

    function makeCertificate(days: number): void {
      const files = ["-keyout", `${temporary}/edge-key.pem`, "-out", `${temporary}/edge.pem`];
      const names = ["-subj", "/CN=edge", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
      const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
      execFileSync("openssl", [...args, "-nodes", "-days", `${days}`, ...files, ...names], {
        stdio: "pipe",
      });
    }

    function edit(file: string, change: (text: string) => string): void {
      const path = join(config, file);
      writeFileSync(path, change(readFileSync(path, "utf8")));
    }

    /** Runs what the unit of a service runs; it ends with this process. */
    function startUnit(name: string): ChildProcess {
      const unit = readFileSync(
        join(temporary, `etc/systemd/system/jetrpc-${name}.service`),
        "utf8",
      );
      const command = /^ExecStart=(.*)$/m.exec(unit)?.[1] as string;
      const env = Object.fromEntries(
        readFileSync(join(config, "metrics.env"), "utf8")
          .trim()
          .split("\n")
          .map((line) => line.split("=", 2)),
      );
      // Every collection is a new one.
      const more = name === "metrics" ? ["--interval", "0"] : [];
      return spawn("setpriv", ["--pdeathsig", "KILL", ...command.split(" "), ...more], {
        cwd: temporary,
        env: { PATH: process.env["PATH"], ...env },
        stdio: "ignore",
      });
    }

    interface Result {
      readonly status: string;
      readonly error?: string;
      readonly data?: {
        readonly result: {
          readonly metric: Readonly<Record<string, string>>;
          readonly value: [number, string];
        }[];
      };
    }

    async function ask(expr: string): Promise<Result> {
      const answer = await fetch(`${prometheus}/query?query=${encodeURIComponent(expr)}`);
      return (await answer.json()) as Result;
    }

    /** The value of the first series; undefined where there is none. */
    async function value(expr: string): Promise<number | undefined> {
      const [series] = (await ask(expr).catch(() => undefined))?.data?.result ?? [];
      return series && Number(series.value[1]);
    }

    /** Names of the alerts that fire. */
    async function firing(): Promise<string[]> {
      const answer = await fetch(`${prometheus}/alerts`);
      const { data } = (await answer.json()) as { data: { alerts: Alert[] } };
      const alerts = data.alerts.filter(({ state }) => state === "firing");
      return [...new Set(alerts.map(({ labels }) => labels["alertname"] as string))].sort();
    }

    test("promtool and amtool find nothing wrong, and the alerts are what their tests say", async () => {
      for (const [command, ...args] of [
        ["promtool", "check", "config", join(config, "prometheus.yml")],
        ["promtool", "check", "rules", join(folder, "rules.yml")],
        ["promtool", "test", "rules", join(folder, "rules.test.yml")],
        ["amtool", "check-config", join(folder, "alertmanager.yml")],
      ] as [string, ...string[]][]) {
        const done = await run(command, args);
        expect(done, done.stdout + done.stderr).toMatchObject({ code: 0 });
      }
    });

    test("every alert has tests, and a section of docs/operations.md that says what to do", () => {
      const tests = readFileSync(join(folder, "rules.test.yml"), "utf8");
      const page = readFileSync(join(folder, "../../docs/operations.md"), "utf8");
      const names = [...rules.matchAll(/alert: (\w+)/g)].map(([, name]) => name as string);
      expect(names.length).toBeGreaterThan(9);
      for (const name of names) {
        expect(tests).toContain(`alertname: ${name}`);
        expect(page).toContain(`### ${name}\n`);
        expect(rules).toContain(`runbook: "docs/operations.md#${name.toLowerCase()}"`);
      }
    });

    test("where a server is down, nobody is told of what follows from it, and of all else", async () => {
      const url = `http://127.0.0.1:${ports[2]}/api/v2/alerts`;
      const known = [...rules.matchAll(/alert: (\w+)$.*?severity: (\w+)/gms)];
      const tell = (more: object) =>
        fetch(url, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(
            known.map(([, alertname, severity]) => ({
              labels: { alertname, severity, test: "inhibition" },
              ...more,
            })),
          ),
        });
      const silent = async () => {
        const answer = await fetch(`${url}?filter=test%3Dinhibition`);
        const alerts = (await answer.json()) as Alert[];
        expect(alerts).toHaveLength(known.length);
        return alerts
          .filter(({ status }) => status && status.inhibitedBy.length > 0)
          .map(({ labels }) => labels["alertname"])
          .sort();
      };
      await expect.poll(async () => (await tell({})).status, { timeout: 60_000 }).toBe(200);
      await expect
        .poll(() => silent().catch(String), { timeout: 60_000 })
        .toEqual(["JetrpcScrapeErrors", "JetrpcSlowConsumers"]);
      await tell({ endsAt: new Date().toISOString() });
    });

    describe("each alert", () => {
      const all = () =>
        [...rules.matchAll(/alert: (\w+)/g)].map(([, name]) => name as string).sort();
      let worker: Worker;
      let edgeClient: Connection;
      let slow: Socket;
      let release: () => void;

      /** Waits until alerts have fired, at some time. */
      async function haveFired(...names: string[]): Promise<void> {
        const once = 'max by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))';
        await expect
          .poll(
            async () => {
              const found = (await ask(once)).data?.result ?? [];
              const fired = found.map(({ metric }) => metric["alertname"]);
              return names.filter((name) => !fired.includes(name));
            },
            { timeout: 120_000, interval: 500 },
          )
          .toEqual([]);
      }

      test("fires when its cause is there, and Alertmanager hears of it", async () => {
        const held = new Promise<void>((resolve) => {
          release = resolve;
        });
        const client = createClient<Record<"order" | "refund", never>>(
          service,
          connection,
        ) as unknown as Record<
          "order" | "refund",
          { submit(request: object): Promise<{ result(): Promise<unknown> }> }
        >;
        // A worker with one slot for Order that is taken, and nobody for Refund.
        worker = await startWorker(
          service,
          {
            order: async ({ text }: { text: string }) => {
              if (text === "fail") {
                throw new Error("broken");
              }
              await held;
              return {};
            },
          } as never,
          connection,
          { concurrency: 1 },
        );
        open.push(() => worker.drain());
        // A stream that somebody has changed. The certificate has ten days.
        await alterStream(7_200);
        await expect.poll(() => value('sum(jetrpc_calls{state="dead"})')).toBe(0);
        const failed = await client.order.submit({ text: "fail" });
        await failed.result().catch(() => undefined);
        // Before a leader of streams is lost: scrapes then fail for longer than the window.
        await haveFired("JetrpcDeadLettersRise");
        await client.order.submit({ text: "hold" });
        await client.order.submit({ text: "wait" });
        await client.refund.submit({ text: "wait" });
        // A store that grows so fast that it is full within a day, and then nearly is.
        edgeClient = await connect({
          nats: {
            servers: edge.url,
            tls: { ca: readFileSync(join(temporary, "edge.pem"), "utf8") },
          },
        });
        open.push(() => edgeClient.close());
        await edgeClient.nats.request(
          "$JS.API.STREAM.CREATE.FULL",
          '{"name":"FULL","subjects":["full"]}',
        );
        const fill = async (count: number) => {
          for (let stored = 0; stored < count; stored++) {
            await edgeClient.nats.request("full", new Uint8Array(500_000));
          }
        };
        await fill(6);
        await haveFired("JetrpcStorageFull");
        const info = (await edgeClient.nats.request("$JS.API.INFO")).json<{ storage: number }>();
        expect(info.storage).toBeLessThan(5_000_000);
        await fill(13);
        // A client that does not read.
        slow = await subscribeAndStall();
        // The server of copies.
        cluster.servers[2]?.suspend();
        for (let count = 0; count < 40; count++) {
          connection.nats.publish("flood", new Uint8Array(1_000_000));
          await connection.nats.flush();
        }
        await haveFired(
          "JetrpcNoWorker",
          "JetrpcOldestCallTooOld",
          "JetrpcDeadLettersRise",
          "JetrpcSlotsTaken",
          "JetrpcStorageFull",
          "JetrpcAccountFull",
          "JetrpcReplicaBehind",
          "JetrpcSlowConsumers",
          "JetrpcCertificateExpires",
          "JetrpcSchemaDrift",
        );
        const heard = async () => {
          const answer = await fetch(`http://127.0.0.1:${ports[2]}/api/v2/alerts`);
          return ((await answer.json()) as Alert[]).map(({ labels }) => labels["alertname"]);
        };
        await expect.poll(heard, { timeout: 60_000 }).toContain("JetrpcNoWorker");
        // And what the exporter itself may meet.
        await edge.kill();
        await haveFired("JetrpcServerDown");
        await edge.restart();
        edit("metrics.env", (text) => `${text}JETRPC_DOMAIN=nowhere\n`);
        await restartExporter();
        await haveFired("JetrpcScrapeErrors");
        children.at(-1)?.kill("SIGKILL");
        await haveFired("JetrpcExporterDown");
        await haveFired(...all());
      });

      test("no metric has the name of another one that workers tell", async () => {
        const names = 'group by (__name__) ({job="%",__name__=~"jetrpc_.+"})';
        const [own, exporters] = ["workers", "jetrpc"].map((job) => names.replace("%", job));
        await expect.poll(() => value(`count(${own})`), { timeout: 60_000 }).toBeGreaterThan(3);
        expect((await ask(`${own} and on (__name__) (${exporters})`)).data?.result).toEqual([]);
      });

      test("every expression of the dashboards gives a series", async () => {
        edit("metrics.env", (text) => text.replace("JETRPC_DOMAIN=nowhere\n", ""));
        await restartExporter();
        expect(shown.length).toBeGreaterThan(50);
        await expect
          .poll(
            async () => {
              const empty: unknown[] = [];
              for (const [where, expr] of shown) {
                const { error, data } = await ask(expr);
                if (error !== undefined || data?.result.length === 0) {
                  empty.push([where, expr, error]);
                }
              }
              return empty;
            },
            { timeout: 60_000, interval: 2_000 },
          )
          .toEqual([]);
      });

      test("resolves when its cause is gone", async () => {
        release();
        slow.destroy();
        cluster.servers[2]?.resume();
        // The server of copies has to catch up before.
        await expect
          .poll(() => alterStream(0).then(String, String), { interval: 1_000 })
          .toBe("undefined");
        const refund = () => ({});
        const startSecond = async () => {
          const second = await startWorker(service, { refund } as never, connection);
          open.push(() => second.drain());
        };
        // Until that server knows that others lead by now, it tells the stream as it was.
        await expect.poll(() => startSecond().then(String, String)).toBe("undefined");
        await edgeClient.nats.request("$JS.API.STREAM.PURGE.FULL", "{}");
        makeCertificate(90);
        process.kill(edge.pid, "SIGHUP");
        await expect.poll(firing, { timeout: 150_000, interval: 1_000 }).toEqual([]);
      });

      /** Gives the stream of dead letters another max_age, in s; 0 gives it that of the schema. */
      async function alterStream(seconds: number): Promise<void> {
        if (seconds === 0) {
          await (await planService(connection, service)).apply();
          return;
        }
        const info = (await connection.nats.request("$JS.API.STREAM.INFO.SHOP_DEAD")).json() as {
          config: object;
        };
        const altered = { ...info.config, max_age: seconds * 1e9 };
        await connection.nats.request("$JS.API.STREAM.UPDATE.SHOP_DEAD", JSON.stringify(altered));
      }

      async function subscribeAndStall(): Promise<Socket> {
        const { port } = new URL(cluster.servers[0]?.url as string);
        const socket = connectTcp(Number(port), "127.0.0.1");
        socket.on("error", () => undefined);
        socket.write('CONNECT {"verbose":false}\r\nSUB flood 1\r\nPING\r\n');
        await new Promise<void>((resolve) => {
          socket.on("data", (data) => {
            if (`${data}`.includes("PONG")) {
              socket.pause();
              resolve();
            }
          });
        });
        await delay(0);
        return socket;
      }
    });
  },
);
