/** Is told how many bytes were sent of one request. */
type OnUpload = (bytes: number) => void;

/** Requests that are larger are sent so that their upload can be watched, in bytes. */
const watchedBytes = 64 * 1024;

let listener: (() => OnUpload) | undefined;

/** Tells a listener how many bytes were sent in large requests, all together, until `work` has ended. */
export async function watchUploads<T>(
  onSent: (bytes: number) => void,
  work: () => Promise<T>,
): Promise<T> {
  let before = 0;
  let latest = 0;
  const own = (): OnUpload => {
    before += latest;
    latest = 0;
    return (bytes) => {
      latest = bytes;
      onSent(before + bytes);
    };
  };
  listener = own;
  try {
    return await work();
  } finally {
    // Another one may have begun after this one was canceled.
    if (listener === own) {
      listener = undefined;
    }
  }
}

/** The `fetch` of browsers, which tells nothing of uploads, but for those that are watched. */
export async function fetchWithProgress(
  input: RequestInfo | URL,
  init: RequestInit = {},
): Promise<Response> {
  const { body } = init;
  const isWatched = body instanceof Uint8Array && body.byteLength >= watchedBytes;
  // A signal that has fired tells no listener.
  if (!listener || !isWatched || init.signal?.aborted) {
    return fetch(input, init);
  }
  const onUpload = listener();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(init.method ?? "POST", String(input));
    new Headers(init.headers).forEach((value, name) => {
      request.setRequestHeader(name, value);
    });
    request.responseType = "arraybuffer";
    request.upload.onprogress = ({ loaded }) => onUpload(loaded);
    request.onload = () => {
      const headers = new Headers();
      for (const line of request
        .getAllResponseHeaders()
        .trim()
        .split(/[\r\n]+/)) {
        const [name = "", ...value] = line.split(": ");
        headers.append(name, value.join(": "));
      }
      const { status, statusText } = request;
      // No Content is no body, which Response tells from an empty one.
      const body = status === 204 ? null : request.response;
      resolve(new Response(body, { status, statusText, headers }));
    };
    request.onerror = () => reject(new TypeError("the request failed"));
    request.onabort = () => reject(new DOMException("the request was aborted", "AbortError"));
    init.signal?.addEventListener("abort", () => request.abort());
    request.send(body as Uint8Array<ArrayBuffer>);
  });
}
