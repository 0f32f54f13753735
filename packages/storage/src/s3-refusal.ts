/** What a server's refusal means, and what mends it. */
export interface Refusal {
  readonly reason: string;
  readonly hint: string;
}

/** Answers that say which part of a request is wrong, by the codes of Amazon's and of others' servers. */
const refusals: readonly (Refusal & { readonly name: RegExp; readonly message?: RegExp })[] = [
  {
    name: /^(PermanentRedirect|TemporaryRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraintException|InvalidRegion)$/,
    reason: 'the bucket is in another region',
    hint: 'Set AWS_REGION to the region of the bucket.',
  },
  {
    // Versity's gateway: "Credential should be scoped to a valid Region, not eu-west-1".
    name: /^(SignatureDoesNotMatch|InvalidRequest|InvalidArgument|AccessDenied)$/,
    message: /\bregion\b/i,
    reason: 'the server is in another region',
    hint: 'Set AWS_REGION to the region of the server.',
  },
  {
    name: /^(InvalidAccessKeyId|XAdminUserNotFound|NoSuchUser)$/,
    reason: 'the server does not know the access key',
    hint: 'Check AWS_ACCESS_KEY_ID, or the profile, and the endpoint (S3_ENDPOINT_URL): each server has its own keys.',
  },
  {
    name: /^SignatureDoesNotMatch$/,
    reason: 'the secret does not belong to the access key',
    hint: 'Check AWS_SECRET_ACCESS_KEY, or the profile.',
  },
  {
    name: /^(RequestTimeTooSkewed|RequestExpired|RequestInTheFuture)$/,
    reason: "this machine's clock and the server's differ too much",
    hint: 'Set the clock (timedatectl set-ntp true).',
  },
  {
    name: /^(ExpiredToken|ExpiredTokenException|TokenRefreshRequired)$/,
    reason: 'the session token has expired',
    hint: 'Log in again, or take a new AWS_SESSION_TOKEN with its own key and secret.',
  },
  {
    name: /^(InvalidToken|UnrecognizedClientException)$/,
    reason: 'the session token does not belong to the access key',
    hint: 'Unset AWS_SESSION_TOKEN, or set it together with its own key and secret.',
  },
  {
    name: /^(AccessDenied|AllAccessDisabled|AccountProblem|InvalidObjectState)$/,
    reason: 'the access key has no right to it',
    hint: 'Have the owner of the bucket allow it, or use another key. Where a bucket may not be listed, this is also the answer for what is not there.',
  },
];

/** The refusal of a request without credentials. */
export const nobody: Refusal = {
  reason: 'access without credentials is denied',
  hint: 'No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.',
};

/** A refusal that says no more, such as the answer to HEAD, which has no body. */
export const unexplained: Refusal = {
  reason: 'access denied',
  hint: 'Check the credentials and what they allow.',
};

/** @param name the code of the answer @returns undefined where it does not say what is wrong */
export function refusalOf(name: string, message: string): Refusal | undefined {
  return refusals.find((one) => one.name.test(name) && (one.message?.test(message) ?? true));
}
