const integer = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const day = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short" });
const whole = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });

/** `1,234,567`. */
export function countText(count: number | bigint): string {
  return integer.format(count);
}

/** `1 call`, `2 calls`. */
export function plural(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** `850 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function durationText(ms: number): string {
  if (ms < 1_000) {
    return `${ms < 10 && ms > 0 ? ms.toFixed(1).replace(/\.0$/, "") : Math.round(ms)} ms`;
  }
  if (ms < 60_000) {
    return `${(ms / 1_000).toFixed(1).replace(/\.0$/, "")} s`;
  }
  const units = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
    ["s", 1_000],
  ] as const;
  const first = units.findIndex(([, size]) => ms >= size);
  return units
    .slice(first, first + 2)
    .map(([unit, size], index) => {
      const rest = index === 0 ? ms : ms % (units[first]?.[1] ?? 1);
      return [Math.floor(rest / size), unit] as const;
    })
    .filter(([amount], index) => index === 0 || amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(" ");
}

/** `1.2 MB`. */
export function sizeText(bytes: number | bigint): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let size = Number(bytes);
  let unit = 0;
  while (size >= 1_000 && unit < units.length - 1) {
    size /= 1_000;
    unit++;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1).replace(/\.0$/, "")} ${units[unit]}`;
}

/** `14:03:09` of today, `26 Nov 14:03:09` of another day. */
export function timeText(time: Date, now = new Date()): string {
  const isToday = time.toDateString() === now.toDateString();
  return isToday ? clock.format(time) : `${day.format(time)} ${clock.format(time)}`;
}

/** All of a time, with its zone. */
export function wholeTimeText(time: Date): string {
  return whole.format(time);
}

/** `4 s ago`, `in 3 min`. */
export function agoText(time: Date, now = Date.now()): string {
  const ms = now - Number(time);
  // Clocks of this machine and of the server differ.
  if (ms > -2_000 && ms < 1_000) {
    return "now";
  }
  const [rough = ""] = /^[\d.]+ \w+/.exec(durationText(Math.abs(ms))) ?? [];
  const text = rough.replace(/\.\d+/, "");
  return ms > 0 ? `${text} ago` : `in ${text}`;
}

/** `12`, `3.4`, `0.02`: calls per minute and the like. */
export function rateText(rate: number): string {
  if (Number.isInteger(rate) || rate >= 10) {
    return countText(Math.round(rate));
  }
  return rate >= 1 ? rate.toFixed(1) : rate.toPrecision(1);
}
