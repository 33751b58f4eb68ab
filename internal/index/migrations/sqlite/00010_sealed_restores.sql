-- +goose Up

-- Rows of restores said plainly who had asked, whom to tell and which objects they were about. They are sealed now,
-- under keys that a migration does not have. What is being restored can be asked for anew: a store is not asked twice.
DELETE FROM jobs WHERE kind IN ('restore', 'restore-ending', 'restore-over', 'restores', 'restores-over', 'webhook');

-- +goose Down
DELETE FROM jobs WHERE kind IN ('restore', 'restore-ending', 'restore-over', 'restores', 'restores-over', 'webhook');
