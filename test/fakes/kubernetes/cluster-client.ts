import type { CertificateRequest, CertificateRequestStatus } from './certificate-request.ts';

export interface ListOptions {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export type NewCertificateRequest = Pick<CertificateRequest, 'spec'> & {
  readonly metadata: Partial<CertificateRequest['metadata']>;
};

/** CertificateRequests of one namespace, for tests and for the controller. A status over 299 is an `ApiError`. */
export interface ClusterClient {
  create(request: NewCertificateRequest): Promise<CertificateRequest>;
  get(name: string): Promise<CertificateRequest>;
  list(options?: ListOptions): Promise<CertificateRequest[]>;
  /** Merge patch of the status subresource. */
  patchStatus(name: string, status: CertificateRequestStatus): Promise<CertificateRequest>;
  delete(name: string): Promise<void>;
  /** Any other request. `path` begins with `/`. */
  request(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<ApiReply>;
  close(): Promise<void>;
}

export interface ApiReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed JSON; text when it is none. */
  readonly body: unknown;
}
