#!/bin/sh
# Makes the two buckets. The one for keys has no versioning and no object lock:
# either would keep what crypto-shredding has to destroy.
set -eu
for bucket in strata-objects strata-keys; do
  if out=$(versitygw admin --endpoint-url "$S3_ENDPOINT" --allow-insecure create-bucket --owner "$ADMIN_ACCESS_KEY" --bucket "$bucket" 2>&1); then
    echo "made $bucket"
  else
    case $out in
    *BucketAlreadyOwnedByYou*) ;;
    *) echo "$out" >&2; exit 1 ;;
    esac
  fi
done
