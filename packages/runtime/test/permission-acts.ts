/** Users of the permissions test; docs/security.md speaks of the same roles. */
export type UserName =
  | "admin"
  | "worker"
  | "doer"
  | "acme"
  | "umbrella"
  | "caller"
  | "shortClient"
  | "shortWorker"
  | "operator"
  | "observer";

/** Something that somebody may try, and who may do it. */
export interface Act {
  readonly what: string;
  /** What it publishes to, or subscribes to. `<self>` is the name of the user. */
  readonly publish?: string;
  readonly subscribe?: string;
  readonly queue?: string;
  readonly allowed: readonly UserName[];
}

const test = "test.v1.TestService";
const short = "test.v1.ShortService";
const shortStream = "test_v1_ShortService";
const objects = "$O.TEST_PAYLOAD.C";

/** Publishing. */
const pub = (what: string, publish: string, ...allowed: UserName[]): Act => ({
  what,
  publish,
  allowed,
});
/** Subscribing. */
const sub = (what: string, subscribe: string, ...allowed: UserName[]): Act => ({
  what,
  subscribe,
  allowed,
});
/** Subscribing in the queue group of the workers. */
const take = (what: string, subscribe: string, ...allowed: UserName[]): Act => ({
  what,
  subscribe,
  queue: "q",
  allowed,
});
/** A request to JetStream. */
const api = (what: string, tokens: string, ...allowed: UserName[]): Act =>
  pub(what, `$JS.API.${tokens}`, ...allowed);

const everybody: UserName[] = [
  "admin",
  "worker",
  "doer",
  "acme",
  "umbrella",
  "caller",
  "shortClient",
  "shortWorker",
  "operator",
  "observer",
];

export const acts: readonly Act[] = [
  // Direct calls.
  pub("call a method", `${test}.rpc.Get`, "acme", "umbrella", "caller"),
  pub("call a method that was not granted", `${test}.rpc.Down`, "acme", "umbrella"),
  pub("wait for a busy worker", `${test}.wait.Two`, "acme", "umbrella"),
  pub("send frames of a stream", `${test}.stream.Chat.w.1`, "acme", "umbrella"),
  pub("leave a direct call", `${test}.cancel.Get`, "acme", "umbrella", "caller"),
  take("take requests", `${test}.rpc.Get`, "worker", "doer"),
  take("take requests of another method", `${test}.rpc.Down`, "worker"),
  sub("copy requests", `${test}.rpc.Get`),
  sub("copy all requests", `${test}.rpc.*`),
  take("take all requests by a wildcard", `${test}.rpc.>`),
  sub("hear frames of streams", `${test}.stream.Chat.>`, "worker"),
  // Replies.
  sub("listen to its own inbox", "_INBOX.<self>.1", ...everybody),
  sub("listen to somebody's inbox", "_INBOX.acme.1", "acme"),
  sub("listen to all inboxes", "_INBOX.>"),
  sub("listen to all inboxes of one depth", "_INBOX.*.1"),
  pub("reply", "_INBOX.acme.1", "worker", "doer", "shortWorker"),
  pub("reply to another account", "_R_.aBcDeF.gHiJkL", "worker", "doer", "shortWorker"),
  pub("have a message of its own traced", "_INBOX.<self>.trace.1", ...everybody),
  pub(
    "have a message traced for somebody",
    "_INBOX.umbrella.trace.1",
    "umbrella",
    "worker",
    "doer",
    "shortWorker",
  ),
  // Submitting.
  pub("submit", `${test}.queue.Do.acme._.1`, "acme", "caller", "worker", "doer", "operator"),
  pub(
    "submit as another owner",
    `${test}.queue.Do.umbrella._.1`,
    "umbrella",
    "worker",
    "doer",
    "operator",
  ),
  pub("submit as nobody", `${test}.queue.Do._._.1`, "worker", "doer", "operator"),
  pub("submit without an owner", `${test}.queue.Do`),
  pub(
    "submit to a method that was not granted",
    `${test}.queue.Count.acme._.1`,
    "acme",
    "worker",
    "operator",
  ),
  pub(
    "submit with high priority",
    `${test}.queue-high.Urgent.acme._.1`,
    "acme",
    "worker",
    "operator",
  ),
  pub("give a priority where there is none", `${test}.queue-high.Do.acme._.1`),
  pub("submit for later", `${test}.later.Do.umbrella._.1`, "umbrella", "worker", "operator"),
  pub("submit for later without that right", `${test}.later.Do.acme._.1`, "worker", "operator"),
  pub("make a call due", `${test}.due.queue.Do.acme._.1`),
  sub("copy queued requests", `${test}.queue.>`),
  // Logs and results.
  pub(
    "write a log",
    `${test}.log.Do.acme._.1.entry`,
    "acme",
    "caller",
    "worker",
    "doer",
    "operator",
  ),
  pub(
    "write a log of another owner",
    `${test}.log.Do.umbrella._.1.entry`,
    "umbrella",
    "worker",
    "doer",
    "operator",
  ),
  pub(
    "write a log of another method",
    `${test}.log.Count.acme._.1.entry`,
    "acme",
    "worker",
    "operator",
  ),
  pub("report progress", `${test}.progress.Do.acme._.1.progress`, "worker", "doer"),
  pub("forge a live result", `${test}.live.Do.acme._.1.entry`),
  pub(
    "cancel a durable call",
    `${test}.cancel.Do`,
    "acme",
    "umbrella",
    "caller",
    "worker",
    "doer",
    "operator",
  ),
  pub("bury a call", `${test}.dead.Do.acme._.1`, "worker", "doer", "operator"),
  sub("hear results", `${test}.live.Do.acme.>`, "acme", "caller"),
  sub("hear results of another method", `${test}.live.Count.acme.>`, "acme"),
  sub("hear results of another owner", `${test}.live.Do.umbrella.>`, "umbrella"),
  sub("hear results of all owners", `${test}.live.Do.>`),
  sub("hear results of all methods", `${test}.live.*.acme.>`),
  sub("hear logs as they are written", `${test}.log.>`),
  sub("hear dead letters", `${test}.dead.>`),
  // Reading what is stored.
  api(
    "read a result",
    `DIRECT.GET.TEST_LOG.${test}.log.Do.acme._.1.entry`,
    "acme",
    "caller",
    "worker",
    "doer",
    "operator",
  ),
  api(
    "read a result of another owner",
    `DIRECT.GET.TEST_LOG.${test}.log.Do.umbrella._.1.entry`,
    "umbrella",
    "worker",
    "doer",
    "operator",
  ),
  api("read the last result of anybody", `DIRECT.GET.TEST_LOG.${test}.log.>`, "operator"),
  api("read any result by its sequence", "DIRECT.GET.TEST_LOG", "operator"),
  api(
    "read progress of another owner",
    `DIRECT.GET.TEST_PROGRESS.${test}.progress.Do.umbrella._.1.progress`,
    "umbrella",
    "operator",
  ),
  api(
    "read a request",
    `DIRECT.GET.TEST.${test}.queue.Do.acme._.1`,
    "acme",
    "caller",
    "worker",
    "doer",
    "operator",
  ),
  api(
    "read a request of another owner",
    `DIRECT.GET.TEST.${test}.queue.Do.umbrella._.1`,
    "umbrella",
    "worker",
    "doer",
    "operator",
  ),
  api("read any request by its sequence", "DIRECT.GET.TEST", "operator", "worker"),
  api(
    "read a delayed request of another owner",
    `DIRECT.GET.TEST_LATER.${test}.later.Do.umbrella._.1`,
    "umbrella",
    "operator",
  ),
  api("read dead letters", "DIRECT.GET.TEST_DEAD", "operator"),
  api(
    "read what a handler threw",
    `DIRECT.GET.TEST_DEAD.${test}.dead.Do.$cause.acme._.1`,
    "operator",
    "worker",
    "doer",
  ),
  api("read any message, the old way", "STREAM.MSG.GET.TEST_LOG"),
  api("read any request, the old way", "STREAM.MSG.GET.TEST"),
  api(
    "read a log",
    `CONSUMER.CREATE.TEST_LOG.x.${test}.log.Do.acme._.1.entry`,
    "acme",
    "caller",
    "worker",
    "doer",
    "admin",
    "operator",
  ),
  api(
    "read a log of another owner",
    `CONSUMER.CREATE.TEST_LOG.x.${test}.log.Do.umbrella._.1.entry`,
    "umbrella",
    "worker",
    "doer",
    "admin",
    "operator",
  ),
  api("read all logs", `CONSUMER.CREATE.TEST_LOG.x.${test}.log.>`, "admin", "operator"),
  api("make a consumer with a filter in its body", "CONSUMER.CREATE.TEST_LOG", "admin"),
  api("make a durable consumer, the old way", "CONSUMER.DURABLE.CREATE.TEST_LOG.x"),
  // Queues.
  api("make a consumer on a queue", `CONSUMER.CREATE.TEST.x.${test}.queue.Do.acme.>`, "admin"),
  api("take a call", "CONSUMER.MSG.NEXT.TEST.Do", "worker", "doer"),
  api("take a call of another method", "CONSUMER.MSG.NEXT.TEST.Count", "worker"),
  api("take a call that is due", "CONSUMER.MSG.NEXT.TEST_LATER.Do", "worker", "doer"),
  pub("acknowledge a call", "$JS.ACK.TEST.Do.1.1.1.1.0", "worker", "doer"),
  pub("acknowledge a call of another method", "$JS.ACK.TEST.Count.1.1.1.1.0", "worker"),
  sub("hear acknowledgements", "$JS.ACK.>"),
  api("count what waits", "CONSUMER.INFO.TEST.Do", "admin", "operator", "observer", "worker"),
  api("pause a method", "CONSUMER.PAUSE.TEST.Do", "operator"),
  api("remove a consumer", "CONSUMER.DELETE.TEST.Do", "admin"),
  api(
    "count what is due",
    "CONSUMER.INFO.TEST_LATER.Do",
    "admin",
    "operator",
    "observer",
    "worker",
  ),
  api("list consumers", "CONSUMER.LIST.TEST", "admin", "operator", "observer"),
  api("list the consumers of readers", "CONSUMER.LIST.TEST_LOG", "admin"),
  // Streams.
  api("look at a stream", "STREAM.INFO.TEST_LOG", "admin", "operator", "observer"),
  api("look at the names of objects", "STREAM.INFO.OBJ_TEST_PAYLOAD", "admin"),
  api("make a stream", "STREAM.CREATE.TEST", "admin"),
  api("make a stream of another name", "STREAM.CREATE.MINE"),
  api("change a stream", "STREAM.UPDATE.TEST_LOG", "admin"),
  api("delete a stream", "STREAM.DELETE.TEST_LOG", "admin"),
  api("purge a queue", "STREAM.PURGE.TEST"),
  api("purge logs", "STREAM.PURGE.TEST_LOG", "operator"),
  api("delete a request", "STREAM.MSG.DELETE.TEST", "operator"),
  api("delete a log entry", "STREAM.MSG.DELETE.TEST_LOG"),
  api("delete a dead letter", "STREAM.MSG.DELETE.TEST_DEAD", "operator"),
  api("copy a stream out", "STREAM.SNAPSHOT.TEST_LOG"),
  api("put a stream in", "STREAM.RESTORE.TEST_LOG"),
  api("move a stream's leader", "STREAM.LEADER.STEPDOWN.TEST"),
  api("list the names of streams", "STREAM.NAMES", "admin"),
  api("list streams", "STREAM.LIST"),
  // Discovery.
  pub("ask who is there", "$SRV.PING", "operator", "observer"),
  pub(
    "ask what a service has",
    "$SRV.INFO.test_v1_TestService",
    "acme",
    "umbrella",
    "caller",
    "operator",
    "observer",
  ),
  pub("ask for figures", "$SRV.STATS.test_v1_TestService", "operator", "observer"),
  pub(
    "ask for descriptors",
    `${test}.describe`,
    "acme",
    "umbrella",
    "caller",
    "operator",
    "observer",
  ),
  sub("be discovered", "$SRV.INFO", "worker", "doer", "shortWorker"),
  sub("be discovered as another service", "$SRV.INFO.test_v1_TestService", "worker", "doer"),
  take("give descriptors", `${test}.describe`, "worker", "doer"),
  // Another service.
  pub("submit to another service", `${short}.queue.Do.acme._.1`, "shortClient", "shortWorker"),
  pub("bury a call of another service", `${short}.dead.Do.acme._.1`, "shortWorker"),
  api("take a call of another service", `CONSUMER.MSG.NEXT.${shortStream}.Do`, "shortWorker"),
  api(
    "read a result of another service",
    `DIRECT.GET.${shortStream}_LOG.${short}.log.Do.acme._.1.entry`,
    "shortClient",
    "shortWorker",
  ),
  api("delete a stream of another service", `STREAM.DELETE.${shortStream}`),
  api("count what waits at another service", `CONSUMER.INFO.${shortStream}.Do`, "shortWorker"),
  sub("hear results of another service", `${short}.live.Do.acme.>`, "shortClient"),
  // Large payloads.
  sub("hear large payloads", "$O.TEST_PAYLOAD.>"),
  pub(
    "store a large request",
    `${objects}.queue.Do.acme._.1.base.0`,
    "worker",
    "doer",
    "acme",
    "caller",
    "operator",
  ),
  pub(
    "store a large request of another owner",
    `${objects}.queue.Do.umbrella._.1.base.0`,
    "worker",
    "doer",
    "umbrella",
    "operator",
  ),
  pub("store a large response", `${objects}.log.Do.acme._.1.base.0`, "worker", "doer", "operator"),
  pub("store an object that is of no call", `${objects}.x`, "operator"),
  pub(
    "store a large request of another service",
    `$O.${shortStream}_PAYLOAD.C.queue.Do.acme._.1.base.0`,
    "shortClient",
    "shortWorker",
  ),
  api(
    "read a large response",
    `CONSUMER.CREATE.OBJ_TEST_PAYLOAD.x.${objects}.log.Do.acme._.1.>`,
    "admin",
    "acme",
    "caller",
    "operator",
  ),
  api(
    "read a large response of another owner",
    `CONSUMER.CREATE.OBJ_TEST_PAYLOAD.x.${objects}.log.Do.umbrella._.1.>`,
    "admin",
    "umbrella",
    "operator",
  ),
  api(
    "read the parts of an upload",
    `CONSUMER.CREATE.OBJ_TEST_PAYLOAD.x.${objects}.queue.Do.acme._.1.upload.0`,
    "admin",
    "acme",
    "caller",
    "worker",
    "doer",
    "operator",
  ),
  api(
    "read the parts of an upload of another owner",
    `CONSUMER.CREATE.OBJ_TEST_PAYLOAD.x.${objects}.queue.Do.umbrella._.1.upload.0`,
    "admin",
    "umbrella",
    "worker",
    "doer",
    "operator",
  ),
  api(
    "read all large payloads",
    "CONSUMER.CREATE.OBJ_TEST_PAYLOAD.x.$O.TEST_PAYLOAD.>",
    "admin",
    "operator",
  ),
  // What is nobody's.
  sub("hear everything", ">"),
  sub("hear advisories", "$JS.EVENT.ADVISORY.>"),
  sub("hear the server", "$SYS.>"),
  pub("ask the server", "$SYS.REQ.SERVER.PING"),
  pub("move an account", "$SYS.REQ.CLAIMS.UPDATE"),
  sub("hear requests to JetStream", "$JS.API.>"),
  pub("write a key", "$KV.settings.a"),
  pub("store an object", "$O.files.C.x"),
  pub("publish anything", "anything"),
];
