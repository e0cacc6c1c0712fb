import { type Timestamp, timestampFromDate } from "@bufbuild/protobuf/wkt";

/** Times as the contract has them, those that are known. */
export function timesOf(times: Record<string, Date | undefined>): Record<string, Timestamp> {
  return Object.fromEntries(
    Object.entries(times).flatMap(([name, time]) =>
      time && !Number.isNaN(Number(time)) ? [[name, timestampFromDate(time)]] : [],
    ),
  );
}
