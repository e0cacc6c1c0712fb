import { Counter, Gauge, Registry } from "prom-client";

/** Labels of a series. */
export type Labels = Readonly<Record<string, string>>;

/** The formats that Prometheus reads. */
export type Format = "prometheus" | "openmetrics";

interface Metric {
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly series: [Labels, number][];
}

/** What one collection has found. */
export class Samples {
  private readonly metrics = new Map<string, Metric>();
  private readonly texts = new Map<Format, Promise<string>>();

  gauge(name: string, help: string, labels: Labels, value: number): void {
    this.add(name, { type: "gauge", help, series: [[labels, value]] });
  }

  counter(name: string, help: string, labels: Labels, value: number): void {
    this.add(name, { type: "counter", help, series: [[labels, value]] });
  }

  /** Takes over the samples of a part of the collection. */
  addAll(other: Samples): void {
    for (const [name, metric] of other.metrics) {
      this.add(name, metric);
    }
  }

  /** Each as an object. */
  toJson(): { name: string; type: Metric["type"]; labels: Labels; value: number }[] {
    return [...this.metrics].flatMap(([name, { type, series }]) =>
      series.map(([labels, value]) => ({ name, type, labels, value })),
    );
  }

  /** The page that is scraped; it is written once. */
  text(format: Format): Promise<string> {
    let text = this.texts.get(format);
    if (!text) {
      text = this.write(format);
      this.texts.set(format, text);
    }
    return text;
  }

  private add(name: string, { type, help, series }: Metric): void {
    const metric = this.metrics.get(name) ?? { type, help, series: [] };
    this.metrics.set(name, metric);
    metric.series.push(...series);
  }

  private write(format: Format): Promise<string> {
    // Its type has one format only; the registry itself has both.
    const registry = new Registry() as Registry & { setContentType(type: string): void };
    registry.setContentType(contentTypes[format]);
    for (const [name, { type, help, series }] of this.metrics) {
      // What servers tell may differ by their version: one odd series must not cost the page.
      const labelNames = [...new Set(series.flatMap(([labels]) => Object.keys(labels)))];
      const options = { name, help, labelNames, registers: [registry] };
      if (type === "counter") {
        const counter = new Counter(options);
        for (const [labels, value] of series) {
          counter.inc(labels, value);
        }
      } else {
        const gauge = new Gauge(options);
        for (const [labels, value] of series) {
          gauge.set(labels, value);
        }
      }
    }
    return registry.metrics();
  }
}

/** The value of `Content-Type` of each format. */
export const contentTypes: Readonly<Record<Format, string>> = {
  prometheus: Registry.PROMETHEUS_CONTENT_TYPE,
  openmetrics: Registry.OPENMETRICS_CONTENT_TYPE,
};
