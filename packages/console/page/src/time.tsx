import { agoText, timeText, wholeTimeText } from "./format.js";
import { useNow } from "./use-now.js";

/** A moment as a clock shows it. */
export function Clock({ at }: { at: Date }) {
  return (
    <time dateTime={at.toISOString()} title={wholeTimeText(at)}>
      {timeText(at)}
    </time>
  );
}

/** How long ago a moment was; goes on by itself. */
export function Ago({ at }: { at: Date }) {
  const now = useNow();
  return (
    <time dateTime={at.toISOString()} title={wholeTimeText(at)}>
      {agoText(at, now)}
    </time>
  );
}
