import { useEffect, useRef } from "react";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { timeText } from "./format.js";

/** A line, or the bars, of a chart. */
export interface Series {
  label: string;
  /** Name of a color of style.css. */
  color: string;
  values: readonly (number | null)[];
  isBars?: boolean;
}

/** Values over time. A table for those who cannot see it is its `summary`. */
export function Chart({
  title,
  summary,
  times,
  series,
  format,
}: {
  title: string;
  summary: string;
  /** In seconds since 1970. */
  times: readonly number[];
  series: readonly Series[];
  format: (value: number) => string;
}) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(null);
  // Bars stand on each other: the first one is drawn with the height of all, the next ones before it.
  const drawn = series.map(({ values, isBars }, nth) =>
    isBars
      ? values.map((_, at) =>
          sum(series.slice(nth).map((each) => (each.isBars ? each.values[at] : 0))),
        )
      : values,
  );
  const data = [times, ...drawn] as unknown as UPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;
  const raw = useRef(series);
  raw.current = series;
  const form = JSON.stringify(series.map(({ label, color, isBars }) => [label, color, isBars]));
  const formatter = useRef(format);
  formatter.current = format;

  useEffect(() => {
    const element = place.current as HTMLDivElement;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const draw = () => {
      plot.current?.destroy();
      const style = getComputedStyle(element);
      const color = (name: string) => {
        // The canvas knows no light-dark().
        element.style.color = `var(--${name})`;
        const value = getComputedStyle(element).color;
        element.style.color = "";
        return value;
      };
      const axis = {
        stroke: color("soft"),
        grid: { stroke: color("line"), width: 1 },
        ticks: { show: false },
        font: `11px ${style.fontFamily}`,
      };
      const bars = UPlot.paths.bars?.({ size: [0.8, 24], align: 1 });
      const shown = JSON.parse(form) as [string, string, boolean | null][];
      plot.current = new UPlot(
        {
          width: element.clientWidth,
          height: 168,
          padding: [10, 8, 0, 0],
          legend: { show: false },
          cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
          scales: {
            // A console that has just begun has little to show: it does not fill the chart.
            x: {
              range: (_, min: number | null, max: number | null) =>
                min === null || max === null ? [0, 600] : [Math.min(min, max - 600), max],
            },
            y: { range: (_, __, max) => [0, Math.max(max * 1.1, 1)] },
          },
          axes: [
            {
              ...axis,
              grid: { show: false },
              size: 26,
              incrs: [60, 120, 300, 600, 900, 1_200],
              space: 70,
              values: (_, splits) =>
                splits.map((at) => timeText(new Date(at * 1_000)).slice(-8, -3)),
            },
            {
              ...axis,
              size: 52,
              space: 36,
              values: (_, splits) => splits.map((value) => formatter.current(value)),
            },
          ],
          series: [
            {},
            ...shown.map(([label, name, isBars]) => ({
              label,
              stroke: color(name),
              width: isBars ? 0 : 1.75,
              points: { show: false },
              ...(isBars && bars && { paths: bars, fill: color(name) }),
            })),
          ],
          hooks: {
            setCursor: [
              (own) => {
                const index = own.cursor.idx;
                tip(element, own, index ?? undefined, raw.current, formatter.current);
              },
            ],
          },
        },
        latest.current,
        element,
      );
    };
    draw();
    const watcher = new ResizeObserver(() =>
      plot.current?.setSize({ width: element.clientWidth, height: 168 }),
    );
    watcher.observe(element);
    dark.addEventListener("change", draw);
    return () => {
      watcher.disconnect();
      dark.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [form]);

  useEffect(() => plot.current?.setData(data));

  return (
    <figure className="chart">
      <figcaption>
        <span>{title}</span>
        <ul className="legend">
          {series.map(({ label, color }) => (
            <li key={label} className={`key-${color}`}>
              {label}
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={place} className="plot" role="img" aria-label={`${title}: ${summary}`}>
        <output hidden />
      </div>
    </figure>
  );
}

/** Shows the values below the pointer. */
function tip(
  element: HTMLElement,
  plot: UPlot,
  index: number | undefined,
  series: readonly Series[],
  format: (value: number) => string,
): void {
  const output = element.querySelector("output") as HTMLOutputElement;
  const at = index === undefined ? undefined : plot.data[0][index];
  output.hidden = at === undefined || (plot.cursor.left ?? -1) < 0;
  if (at === undefined || index === undefined || output.hidden) {
    return;
  }
  const lines = series.map(({ label, values }) => {
    const value = values[index];
    return `${label} ${value === null || value === undefined ? "–" : format(value)}`;
  });
  output.textContent = [timeText(new Date(at * 1_000)).slice(-8, -3), ...lines].join("\n");
  const left = (plot.cursor.left ?? 0) + 60;
  output.style.left = `${Math.min(left, element.clientWidth - output.offsetWidth - 4)}px`;
}

function sum(values: readonly (number | null | undefined)[]): number {
  return values.reduce<number>((all, each) => all + (each ?? 0), 0);
}
