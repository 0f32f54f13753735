/** Whether a host, with or without a port, is the loopback interface of this machine. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/i.test(host);
}

/** Whether nobody between here and the server can read what is sent: by TLS, or on the loopback interface. */
export function isConfidential(url: URL): boolean {
  return url.protocol === 'https:' || isLoopback(url.hostname);
}
