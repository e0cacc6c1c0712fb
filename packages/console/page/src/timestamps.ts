import { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";

export const dateOf = (timestamp: Timestamp | undefined): Date | undefined =>
  timestamp && timestampDate(timestamp);

export const timestampOf = (date: Date | undefined): Timestamp | undefined =>
  date && timestampFromDate(date);
