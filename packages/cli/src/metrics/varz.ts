import type { Samples } from "./samples.js";

/** What a server tells of itself at /varz, as far as it is named here. */
export interface Varz extends Readonly<Record<string, unknown>> {
  readonly server_id?: string;
  readonly server_name?: string;
}

/** Texts that become a label `value`, or a time in ms. */
const texts = new Set([
  ..."server_id server_name version domain leader name start config_load_time".split(" "),
]);

/** Left out by prometheus-nats-exporter, too. */
const skipped = new Set([
  ..."leaf trusted_operators_claim cluster_tls_timeout cluster_cluster_port".split(" "),
  ..."cluster_auth_timeout gateway_port gateway_auth_timeout gateway_tls_timeout".split(" "),
  "gateway_connect_retries",
]);

/** Every number of /varz, by its path. */
export function collectVarz(
  varz: Readonly<Record<string, unknown>>,
  server_id: string,
  samples: Samples,
  path: readonly string[] = [],
): void {
  for (const [key, value] of Object.entries(varz)) {
    const own = [...path, key];
    const name = own
      .join("_")
      .replaceAll(/\W/g, "_")
      .replaceAll(/_+/g, "_")
      .replaceAll(/^_|_$/g, "");
    const metric = `gnatsd_varz_${name}`;
    const help = `${own.join(".")} of /varz`;
    if (skipped.has(name)) {
      continue;
    }
    if (typeof value === "number") {
      samples.gauge(metric, help, { server_id }, value);
    } else if (typeof value === "string" && texts.has(key)) {
      const ms = /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : Number.NaN;
      if (Number.isNaN(ms)) {
        samples.gauge(metric, help, { server_id, value }, 1);
      } else {
        samples.gauge(metric, `${help}, in ms since 1970`, { server_id }, ms);
      }
    } else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      collectVarz(value as Record<string, unknown>, server_id, samples, own);
    }
  }
}

/** The parts of /varz that may have a certificate. */
const listeners = ["cluster", "gateway", "leaf", "mqtt", "websocket"];

/** When the certificates expire that the server shows, where it speaks TLS. */
export function collectCertificates(varz: Varz, server_id: string, samples: Samples): void {
  const parts = listeners.map((name) => [name, varz[name]] as const);
  for (const [listener, part] of [["client", varz] as const, ...parts]) {
    const text = (part as Record<string, unknown> | undefined)?.["tls_cert_not_after"];
    if (typeof text === "string") {
      samples.gauge(
        "jetrpc_server_certificate_not_after_seconds",
        "When the certificate of a listener of the server expires, in s since 1970",
        { server_id, listener },
        Date.parse(text) / 1000,
      );
    }
  }
}
