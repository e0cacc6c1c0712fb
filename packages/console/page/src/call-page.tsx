import { Code, ConnectError } from "@connectrpc/connect";
import { useState } from "react";
import {
  Ability,
  type CallName,
  type CallStory,
  type Payload,
} from "../../src/gen/jetrpc/console/v1/console_service_pb.js";
import { ActButton } from "./act-button.js";
import { AskDialog } from "./ask-dialog.js";
import { openStates, StateMark } from "./call-state.js";
import { CallTimeline } from "./call-timeline.js";
import { consoleClient } from "./console-client.js";
import { EditDialog } from "./edit-dialog.js";
import { Empty } from "./empty.js";
import { Failure } from "./failure.js";
import { countText, plural, sizeText } from "./format.js";
import { JsonText } from "./json-text.js";
import { Link } from "./link.js";
import { pathWith, usePlace } from "./location.js";
import { methodPath, shortService } from "./paths.js";
import { useSession } from "./session.js";
import { stateName } from "./states.js";
import { Clock } from "./time.js";
import { dateOf } from "./timestamps.js";
import { mostMessages, useFollowCall } from "./use-follow-call.js";
import { useTitle } from "./use-title.js";

type Named = Pick<CallName, "service" | "method" | "owner" | "callId">;
type Act = "cancel" | "replay" | "discard" | "edit";

/** All that the server knows of a call. */
export function CallPage() {
  const { query } = usePlace();
  const name: Named = {
    service: query.get("service") ?? "",
    method: query.get("method") ?? "",
    owner: query.get("owner") ?? "_",
    callId: query.get("id") ?? "",
  };
  useTitle(name.callId);
  return <OneCall key={query.toString()} name={name} />;
}

function OneCall({ name }: { name: Named }) {
  const { service, method, owner, callId } = name;
  const { value, error, again } = useFollowCall(name);
  const { masked } = useSession();
  const [act, setAct] = useState<Act>();
  const [told, setTold] = useState("");
  const story = value?.story;
  const state = story && stateName(story.state);
  const isUnknown = error !== undefined && ConnectError.from(error).code === Code.NotFound;
  const isOpen = state && openStates.includes(state);
  const done = (text: string) => {
    setTold(text);
    void again();
  };
  return (
    <>
      <div className="head">
        <div>
          <p className="trail">
            <Link href="/calls">Calls</Link> / {service} /{" "}
            <Link href={methodPath(service, method)}>{method}</Link>
          </p>
          <h1 className="mono">{callId}</h1>
        </div>
        <div className="acts">
          {state && <StateMark state={state} />}
          <Copy text={callId} />
          {isOpen && (
            <ActButton ability={Ability.CANCEL} service={service} onAct={() => setAct("cancel")}>
              Cancel…
            </ActButton>
          )}
          {state === "failed" && (
            <>
              <ActButton
                ability={Ability.REPLAY}
                service={service}
                className="primary"
                onAct={() => setAct("replay")}
              >
                Replay…
              </ActButton>
              <ActButton ability={Ability.REPLAY} service={service} onAct={() => setAct("edit")}>
                Edit and replay…
              </ActButton>
              <ActButton
                ability={Ability.DISCARD}
                service={service}
                onAct={() => setAct("discard")}
              >
                Discard…
              </ActButton>
            </>
          )}
        </div>
      </div>
      <div role="status" className="told">
        {told && <p className="notice">{told}</p>}
      </div>
      {isUnknown ? (
        <section className="card">
          <Empty title={story ? "This call is gone" : "There is no such call"}>
            Its id is wrong, its dead letter was discarded, or the server has forgotten it: results
            are kept for the <code>result_retention</code> of the service.{" "}
            <Link href={pathWith("/calls", { id: callId })}>Look for the id in all methods</Link>
          </Empty>
        </section>
      ) : (
        <Failure error={story ? undefined : error} />
      )}
      {!isUnknown && story && state && (
        <>
          {story.error && state !== "cancelled" && <Why story={story} />}
          <div className="columns">
            <section className="card" aria-labelledby="happened">
              <header>
                <h2 id="happened">What happened</h2>
              </header>
              <div className="in">
                {story.progress && isOpen && <Progress story={story} />}
                <CallTimeline story={story} />
              </div>
            </section>
            <Facts story={story} owner={owner} />
          </div>
          {masked && (
            <p className="notice">Values are hidden for your role: *** stands in their place.</p>
          )}
          <div className="columns">
            <Request story={story} />
            <Response story={story} messages={value.messages} />
          </div>
        </>
      )}
      {!story && !error && (
        <section className="card" aria-busy="true">
          <Empty title="Looking for the call…" />
        </section>
      )}
      {act === "cancel" && (
        <AskDialog
          title="Cancel this call?"
          act="Cancel the call"
          isDangerous
          onClose={() => setAct(undefined)}
          onAct={async () => {
            const { outcomes } = await consoleClient.cancelCalls({ names: [name] });
            done(outcomeText(outcomes[0], "The call is canceled.", "It had ended already."));
          }}
        >
          <p>
            1 call: <span className="mono">{callId}</span>. Its caller gets the error canceled, and
            a handler that runs is told to stop. It cannot be undone.
          </p>
        </AskDialog>
      )}
      {act === "replay" && (
        <AskDialog
          title="Replay this call?"
          act="Replay the call"
          onClose={() => setAct(undefined)}
          onAct={async () => {
            const { outcomes } = await consoleClient.replayCalls({ names: [name] });
            done(outcomeText(outcomes[0], "The call queues anew.", gone));
          }}
        >
          <p>
            1 call: <span className="mono">{callId}</span>. It queues anew with the request that it
            had, and its attempts are counted from 1.
          </p>
        </AskDialog>
      )}
      {act === "discard" && (
        <AskDialog
          title="Discard this dead letter?"
          act="Discard it"
          isDangerous
          onClose={() => setAct(undefined)}
          onAct={async () => {
            const { outcomes } = await consoleClient.discardCalls({ names: [name] });
            done(outcomeText(outcomes[0], "The dead letter is discarded.", gone));
          }}
        >
          <p>
            1 call: <span className="mono">{callId}</span>. Its request and its files are removed,
            and it cannot be replayed any more. It cannot be undone.
          </p>
        </AskDialog>
      )}
      {act === "edit" && (
        <EditDialog
          name={name}
          request={story?.request?.json ?? ""}
          onClose={() => setAct(undefined)}
          onReplayed={(replayed) =>
            done(replayed ? "The call queues anew with the corrected request." : gone)
          }
        />
      )}
    </>
  );
}

const gone = "Nothing was done: somebody has replayed or discarded it meanwhile.";

function outcomeText(
  outcome: { done: boolean; error?: { code: string; message: string } | undefined } | undefined,
  done: string,
  nothing: string,
): string {
  if (outcome?.error) {
    throw new ConnectError(`${outcome.error.code}: ${outcome.error.message}`, Code.Aborted);
  }
  return outcome?.done ? done : nothing;
}

function Why({ story: { error, cause, attempts } }: { story: CallStory }) {
  return (
    <section className="card" aria-labelledby="why">
      <header>
        <h2 id="why">Why it failed</h2>
        <span className="badge bad">{error?.code}</span>
      </header>
      <div className="in why">
        <p className="bad-text">{error?.message || "The error has no message."}</p>
        {attempts.length > 1 && (
          <p className="soft small">After {plural(attempts.length, "attempt")}.</p>
        )}
        {cause && (
          <details open={cause.length < 2_000}>
            <summary>What the handler threw</summary>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by the keyboard, too */}
            <section className="long-text" tabIndex={0} aria-label="What the handler threw">
              <pre>{cause}</pre>
            </section>
          </details>
        )}
      </div>
    </section>
  );
}

function Progress({ story: { progress } }: { story: CallStory }) {
  if (!progress) {
    return null;
  }
  const { done, total, message } = progress;
  const text = total > 0 ? `${countText(done)} of ${countText(total)}` : countText(done);
  return (
    <div className="progress">
      <div className="small">
        <span>{message || "Progress"}</span> <span className="soft">{text}</span>
      </div>
      <progress
        aria-label={`Progress: ${text}`}
        {...(total > 0 && { value: Math.min(done, total), max: total })}
      />
    </div>
  );
}

function Facts({ story, owner }: { story: CallStory; owner: string }) {
  const { name, metadata, files, workers, attempts } = story;
  const deadline = dateOf(story.deadline);
  return (
    <section className="card" aria-labelledby="facts">
      <header>
        <h2 id="facts">Facts</h2>
      </header>
      <dl className="in facts">
        <dt>Method</dt>
        <dd>
          <Link href={methodPath(name?.service ?? "", name?.method ?? "")}>
            {shortService(name?.service ?? "")}.{name?.method}
          </Link>
        </dd>
        <dt>Owner</dt>
        <dd>{owner === "_" ? <span className="soft">none was named</span> : owner}</dd>
        <dt>Attempts</dt>
        <dd>{attempts.length || <span className="soft">none is known</span>}</dd>
        {deadline && (
          <>
            <dt>Its time ends</dt>
            <dd>
              <Clock at={deadline} />
            </dd>
          </>
        )}
        {workers !== undefined && (
          <>
            <dt>Workers</dt>
            <dd className={workers === 0 ? "bad-text" : ""}>
              {workers === 0 ? "none serves the method: start one" : plural(workers, "worker")}
            </dd>
          </>
        )}
        {metadata.map(({ name, value }) => (
          <div key={name} className="pair">
            <dt className="mono">{name}</dt>
            <dd className="mono">{value}</dd>
          </div>
        ))}
        {files.map(({ ofResponse, message, fileName, contentType, size, path }) => (
          <div key={`${ofResponse}${message}${fileName}${path}`} className="pair">
            <dt>File of the {ofResponse ? "response" : "request"}</dt>
            <dd>
              {path ? (
                <a href={path} download={fileName || "file"}>
                  {fileName || "file"}
                </a>
              ) : (
                fileName || "file"
              )}{" "}
              <span className="soft">
                {sizeText(size)}
                {contentType && `, ${contentType}`}
              </span>
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Request({ story: { request } }: { story: CallStory }) {
  return (
    <section className="card" aria-labelledby="request">
      <header>
        <h2 id="request">Request</h2>
        {request && request.size > 0 && (
          <span className="soft small">{sizeText(request.size)}</span>
        )}
      </header>
      {request ? (
        <Content payload={request} label="JSON of the request" />
      ) : (
        <Empty title="The server has it no more">
          It keeps the request of a call that has not ended, and of one that failed.
        </Empty>
      )}
    </section>
  );
}

function Response({ story, messages }: { story: CallStory; messages: readonly Payload[] }) {
  const isOpen = story.endedAt === undefined;
  return (
    <section className="card" aria-labelledby="response">
      <header>
        <h2 id="response">Response</h2>
        {story.messages > 0 && (
          <span className="soft small">{plural(story.messages, "message")}</span>
        )}
      </header>
      {messages.length === 0 ? (
        <Empty title={isOpen ? "Nothing yet" : "There is none"}>
          {isOpen ? "It appears here when the worker has sent it." : "The call ended without one."}
        </Empty>
      ) : (
        <ol className="messages">
          {messages.map((payload, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: messages have no other name
            <li key={index}>
              {story.messages > 1 && <h3 className="soft">Message {index + 1}</h3>}
              <Content payload={payload} label={`Message ${index + 1} of the response`} />
            </li>
          ))}
        </ol>
      )}
      {story.messages > mostMessages && (
        <p className="in soft small">
          The first {countText(mostMessages)} are shown. <code>jetrpc calls result</code> has all.
        </p>
      )}
    </section>
  );
}

function Content({ payload: { json, problem }, label }: { payload: Payload; label: string }) {
  return json ? (
    <JsonText json={json} label={label} />
  ) : (
    <p className="in soft">{problem || "It is empty."}</p>
  );
}

function Copy({ text }: { text: string }) {
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      onClick={() => {
        void navigator.clipboard.writeText(text).then(() => {
          setCopied(true);
          setTimeout(() => setCopied(false), 1_500);
        });
      }}
    >
      {isCopied ? "Copied" : "Copy id"}
    </button>
  );
}
