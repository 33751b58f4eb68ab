package kmskeys

import (
	"context"
	"errors"

	"github.com/aws/smithy-go"

	"github.com/strata-pacs/strata/internal/fault"
)

const damaged = "a wrapped key is damaged, or belongs to another place; restore its object from a copy"

var errAnswer = fault.New(fault.KeyUnreachable, "what answers at the address of AWS KMS does not answer like it; check the endpoint")

// classify gives an error of a call its kind, by the codes of the KMS API
// reference and those common to AWS. What is not listed is silence.
func classify(ctx context.Context, err error, what string) error {
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "InvalidCiphertextException", "IncorrectKeyException":
			return fault.Wrap(fault.Corrupt, err, damaged)
		case "DisabledException", "KMSInvalidStateException", "NotFoundException":
			return fault.Wrap(fault.KeyDenied, err, "the key in AWS KMS is disabled, deleted or not there (%s)", what)
		case "AccessDeniedException", "InvalidArnException", "InvalidKeyUsageException", "InvalidGrantTokenException", "ValidationException", "UnsupportedOperationException":
			return fault.Wrap(fault.KeyDenied, err, "AWS KMS does not let Strata use the key (%s)", what)
		case "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "IncompleteSignature", "InvalidSignatureException",
			"MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired":
			return fault.Wrap(fault.KeyDenied, err, "AWS does not accept the credential (%s)", what)
		}
	}
	return fault.Wrap(fault.KeyUnreachable, err, "AWS KMS does not answer, or has a limit on requests (%s)", what)
}
