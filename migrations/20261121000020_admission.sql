-- How a user came into the directory. True: by signing in, because a provider's admission allowed it, and then the
-- same rule is asked again at every sign-in. False: somebody wrote them down, and that stands whatever the rule says.
ALTER TABLE app_user ADD COLUMN admitted_by_rule boolean NOT NULL DEFAULT false;
