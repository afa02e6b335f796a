//! The order of what waits.

use cloudai_model::Resources;

use super::*;

fn line_of(user: &str, cpu_milli: u64) -> Arc<Line> {
    let resources = Resources {
        cpu_milli,
        ..Resources::default()
    };
    let class = TaskClass {
        resources,
        target: None,
        beyond_old_nodes: None,
    };
    Queue::default().line(&user.parse().unwrap(), class)
}

fn line(cpu_milli: u64) -> Arc<Line> {
    line_of("ann", cpu_milli)
}

fn rank(priority: i64, order: u64) -> Rank {
    Rank::new(Priority::new(priority).unwrap(), order)
}

fn order(queue: &Queue) -> Vec<TaskId> {
    let first = queue.first(99).into_iter();
    first.map(|(_, task)| task.clone()).collect()
}

#[test]
fn priority_goes_before_age_over_all_classes() {
    let (small, large) = (line(1000), line(8000));
    let mut queue = Queue::default();
    queue.insert(&small, rank(50, 1), TaskId::numbered(1));
    queue.insert(&large, rank(50, 2), TaskId::numbered(2));
    queue.insert(&small, rank(90, 3), TaskId::numbered(3));

    assert_eq!(queue.heads().map(|(rank, _)| rank).min(), Some(rank(90, 3)));
    assert_eq!(queue.ahead_of_new(Priority::new(90).unwrap()), 1);
    assert_eq!(queue.ahead_of_new(Priority::new(50).unwrap()), 3);
    assert_eq!(queue.ahead_of_new(Priority::new(100).unwrap()), 0);
    assert_eq!(order(&queue), [3, 1, 2].map(TaskId::numbered));
    assert_eq!(queue.first(1).len(), 1);
    assert_eq!(queue.ahead_of(rank(50, 2)), 2);
}

#[test]
fn a_million_equal_tasks_are_one_class_and_share_one_line() {
    let mut queue = Queue::default();
    let user = "ann".parse().unwrap();
    for order in 0..1000 {
        let line = queue.line(&user, TaskClass::clone(&line(1000).class));
        queue.insert(&line, rank(50, order), TaskId::numbered(order));
    }
    assert_eq!(queue.heads().count(), 1);
    assert_eq!(queue.len(), 1000);
    assert_eq!(queue.waiting_of(&user), 1000);
    let (_, line, _) = queue.head(&line(1000).class).unwrap();
    // The queue's own, and nobody else's.
    assert_eq!(Arc::strong_count(line), 1);
}

#[test]
fn users_of_one_class_stand_in_one_order() {
    let (ann, bob) = (line_of("ann", 1000), line_of("bob", 1000));
    let mut queue = Queue::default();
    for (order, line) in [(1, &ann), (2, &bob), (3, &ann), (4, &bob)] {
        queue.insert(line, rank(50, order), TaskId::numbered(order));
    }
    assert_eq!(queue.heads().count(), 1);
    assert_eq!(order(&queue), [1, 2, 3, 4].map(TaskId::numbered));
    let head = |queue: &Queue| queue.head(&ann.class).map(|(rank, ..)| rank.order);
    assert_eq!(head(&queue), Some(1));
    assert!(queue.remove(&ann, rank(50, 1)));
    assert_eq!(head(&queue), Some(2));

    queue.stand_aside(&bob);
    assert_eq!(head(&queue), Some(3));
    assert!(queue.remove(&ann, rank(50, 3)));
    assert_eq!(head(&queue), None);
    assert_eq!(queue.heads().count(), 0);
    // It waits all the same, and a task of higher rank changes nothing.
    queue.insert(&bob, rank(90, 5), TaskId::numbered(5));
    assert_eq!(head(&queue), None);
    assert_eq!(order(&queue), [5, 2, 4].map(TaskId::numbered));

    queue.stand_again(&"ann".parse().unwrap());
    assert_eq!(head(&queue), None);
    queue.stand_again(&bob.user);
    assert_eq!(head(&queue), Some(5));
    assert!(queue.remove(&bob, rank(90, 5)));
    assert_eq!(head(&queue), Some(2));
}

#[test]
fn a_line_that_stood_aside_and_went_away_comes_back_among_the_others() {
    let line = line(1);
    let mut queue = Queue::default();
    queue.insert(&line, rank(50, 1), TaskId::numbered(1));
    queue.insert(&line, rank(50, 2), TaskId::numbered(2));
    queue.stand_aside(&line);
    assert!(queue.remove(&line, rank(50, 1)));
    assert!(queue.remove(&line, rank(50, 2)));
    queue.insert(&line, rank(50, 3), TaskId::numbered(3));
    assert_eq!(queue.heads().count(), 1);
}

#[test]
fn what_is_taken_out_is_gone_and_only_that() {
    let mut queue = Queue::default();
    let line = line(1);
    queue.insert(&line, rank(50, 1), TaskId::numbered(1));
    queue.insert(&line, rank(50, 2), TaskId::numbered(2));
    assert!(queue.remove(&line, rank(50, 1)));
    assert!(!queue.remove(&line, rank(50, 1)));
    assert_eq!(
        queue.head(&line.class),
        Some((rank(50, 2), &line, &TaskId::numbered(2)))
    );
    assert_eq!(queue.ahead_of_new(Priority::DEFAULT), 1);
    assert!(queue.remove(&line, rank(50, 2)));
    assert_eq!(queue.len(), 0);
    assert_eq!(queue.waiting_of(&line.user), 0);
}

#[test]
fn a_back_off_ends_at_its_time() {
    let (mut queue, line) = (Queue::default(), line(1));
    queue.back_off(&line, Mono(100), TaskId::numbered(1));
    queue.back_off(&line, Mono(200), TaskId::numbered(2));
    assert_eq!(queue.waiting_of(&line.user), 2);
    assert!(queue.backed_off(Mono(99)).is_empty());
    assert_eq!(queue.backed_off(Mono(100)), [TaskId::numbered(1)]);
    assert_eq!(queue.len(), 1);
    assert!(queue.remove_backing_off(Mono(200), &TaskId::numbered(2)));
    assert_eq!(queue.len(), 0);
    assert_eq!(queue.waiting_of(&line.user), 0);
}

#[test]
fn what_is_on_hold_waits_and_is_nobodys_head() {
    let (mut queue, line) = (Queue::default(), line(1));
    queue.hold(&line, rank(50, 2), TaskId::numbered(2));
    queue.hold(&line, rank(50, 1), TaskId::numbered(1));
    assert_eq!((queue.len(), queue.ready_count()), (2, 0));
    assert_eq!(queue.heads().count(), 0);
    let held: Vec<_> = queue.on_hold().cloned().collect();
    assert_eq!(held, [1, 2].map(TaskId::numbered));
    assert!(queue.remove_on_hold(rank(50, 2)));
    assert!(!queue.remove_on_hold(rank(50, 2)));
    assert_eq!(queue.waiting_of(&line.user), 1);
}
#[test]
fn a_place_is_the_count_of_all_that_go_before_over_levels_lines_and_blocks() {
    // Given ready tasks of two lines and three levels, some on hold, and some gone again,
    let (one, two) = (line_of("ann", 1), line_of("bob", 2));
    let (mut queue, mut ready, mut held) = (Queue::default(), Vec::new(), Vec::new());
    for order in 0..6000 {
        let rank = rank([10, 50, 90][order as usize % 3], order);
        match order % 7 {
            0 => queue.hold(&one, rank, TaskId::numbered(order)),
            1 | 2 => queue.insert(&one, rank, TaskId::numbered(order)),
            _ => queue.insert(&two, rank, TaskId::numbered(order)),
        }
        match order % 7 {
            0 if order % 5 == 0 => assert!(queue.remove_on_hold(rank)),
            0 => held.push(rank),
            1 => assert!(queue.remove(&one, rank)),
            _ => ready.push(rank),
        }
    }
    // when it is asked for a place, then it is where one comes to who counts.
    ready.sort();
    held.sort();
    for (place, rank) in ready.iter().enumerate() {
        assert_eq!(queue.ahead_of(*rank), place);
    }
    for (place, rank) in held.iter().enumerate() {
        assert_eq!(queue.held_ahead_of(*rank), place);
    }
    assert_eq!(queue.ready_blocks.len(), 3 * 6);
    for order in 0..6000 {
        let rank = rank([10, 50, 90][order as usize % 3], order);
        let _ = queue.remove(&one, rank) || queue.remove(&two, rank) || queue.remove_on_hold(rank);
    }
    assert!(queue.ready_blocks.is_empty() && queue.held_blocks.is_empty());
}

#[test]
fn a_place_among_lines_that_all_differ_is_found_without_a_walk_past_them() {
    // Given as many lines as tasks,
    let (mut queue, many) = (Queue::default(), 3000);
    for order in 0..many {
        let line = line(order + 1);
        queue.insert(&line, rank(50, order), TaskId::numbered(order));
    }
    // when it is asked for places, then they follow from the blocks alone, which are few.
    let blocks = &queue.ready_blocks;
    assert!((0..many).all(|order| blocks.before(rank(50, order)) as u64 == order));
    assert_eq!(blocks.len(), 3);
}
