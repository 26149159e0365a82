-- Symfony Messenger 5.4 to 8, Doctrine transport: what a guard of messenger_messages meets.
CREATE TABLE messenger_messages (
    id           bigserial PRIMARY KEY,
    body         text NOT NULL,
    headers      text NOT NULL,
    queue_name   varchar(190) NOT NULL,
    created_at   timestamp(0) NOT NULL,
    available_at timestamp(0) NOT NULL,
    delivered_at timestamp(0));
CREATE INDEX messenger_messages_next ON messenger_messages (queue_name, available_at, delivered_at, id);

CREATE FUNCTION notify_messenger_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('messenger_messages', NEW.queue_name);
    RETURN NEW;
END $$;
CREATE TRIGGER notify_trigger AFTER INSERT OR UPDATE ON messenger_messages FOR EACH ROW
    EXECUTE FUNCTION notify_messenger_messages();
